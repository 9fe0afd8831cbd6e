"""Data sets as plain tensors, from wherever they are, and the means to make them imbalanced."""

from counterpoise.data._as_split import Samples, as_split
from counterpoise.data._columns import Column
from counterpoise.data._debian import DEBIAN_FOLDER, install_debian_package
from counterpoise.data._digits import digits
from counterpoise.data._encoder import TableEncoder, encoded
from counterpoise.data._fashion_mnist import DataNotFound, fashion_mnist
from counterpoise.data._fingerprint import fingerprint
from counterpoise.data._groups import check_apart, groups_of
from counterpoise.data._hold_out import draw_test, joined, split_validation
from counterpoise.data._imbalance import imbalance_counts, make_imbalanced
from counterpoise.data._in_cache import in_cache
from counterpoise.data._load import load, open_unstored
from counterpoise.data._mirrors import MIRRORS
from counterpoise.data._rows import Rows
from counterpoise.data._sample_reader import SampleReader
from counterpoise.data._standardizer import Standardizer
from counterpoise.data._unseen import Batch, Unseen, read_unseen
from counterpoise.data._unstored import Unstored
from counterpoise.data.splits import Split, Splits
from counterpoise.labels import count_classes

__all__ = [
    "DEBIAN_FOLDER",
    "MIRRORS",
    "Batch",
    "Column",
    "DataNotFound",
    "Rows",
    "SampleReader",
    "Samples",
    "Split",
    "Splits",
    "Standardizer",
    "TableEncoder",
    "Unseen",
    "Unstored",
    "as_split",
    "check_apart",
    "count_classes",
    "digits",
    "draw_test",
    "encoded",
    "fashion_mnist",
    "fingerprint",
    "groups_of",
    "imbalance_counts",
    "in_cache",
    "install_debian_package",
    "joined",
    "load",
    "make_imbalanced",
    "open_unstored",
    "read_unseen",
    "split_validation",
]
