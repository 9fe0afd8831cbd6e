"""Data sets as plain tensors, and the means to make them imbalanced on purpose."""

from counterpoise.data._debian import DEBIAN_FOLDER, install_debian_package
from counterpoise.data._digits import digits
from counterpoise.data._fashion_mnist import DataNotFound, fashion_mnist
from counterpoise.data._imbalance import imbalance_counts, make_imbalanced
from counterpoise.data._mirrors import MIRRORS
from counterpoise.data._part import Data, Part, count_classes

__all__ = [
    "DEBIAN_FOLDER",
    "MIRRORS",
    "Data",
    "DataNotFound",
    "Part",
    "count_classes",
    "digits",
    "fashion_mnist",
    "imbalance_counts",
    "install_debian_package",
    "make_imbalanced",
]
