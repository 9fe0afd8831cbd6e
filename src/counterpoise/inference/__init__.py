"""Predictions of exported models, on data that are read as those that they were trained on.

`load` opens the folder that `counterpoise export` wrote. Nothing in it is unpickled.
"""

from counterpoise.inference._folder import FORMAT, MODEL, read_folder
from counterpoise.inference._model import Answers, Model, load
from counterpoise.inference._predictions import (
    SUFFIXES,
    read_shares,
    scores_of,
    table_of,
    write_table,
)

__all__ = [
    "FORMAT",
    "MODEL",
    "SUFFIXES",
    "Answers",
    "Model",
    "load",
    "read_folder",
    "read_shares",
    "scores_of",
    "table_of",
    "write_table",
]
