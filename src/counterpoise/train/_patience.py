"""The end of a training that gets no better."""

import copy
import math
from collections.abc import Collection
from typing import Any

from torch import nn

from counterpoise.train._shard import load_net

Row = dict[str, Any]  # of an epoch: the loss, and each score of each watched split


class Patience:
    """Rule that ends a training, and the weights of the best epoch so far.

    An untrained net is never the best of several; nor is a score that is NaN.

    Attributes:
        weights: the net's state after the best epoch.
    """

    def __init__(self, epochs: int, monitor: str, columns: Collection[str]) -> None:
        if monitor not in columns:
            raise ValueError(
                "patience needs monitor, the column of the rows by which epochs are compared, one "
                f"of {', '.join(columns)}, but got {monitor!r}"
            )
        self.epochs, self.monitor = epochs, monitor
        self.weights: dict[str, Any] = {}

    def see(self, rows: list[Row], net: nn.Module) -> None:
        """Add the best epoch so far to the last row, and keep the net's weights if it is that."""
        epoch = len(rows) - 1
        best = rows[-2]["best_epoch"] if epoch else 0
        if epoch < 2 or self._merit(rows[-1]) > self._merit(rows[best]):
            best, self.weights = epoch, copy.deepcopy(net.state_dict())
        rows[-1]["best_epoch"] = best

    def is_over(self, rows: list[Row]) -> bool:
        """Return whether as many epochs as are allowed have brought nothing better."""
        return bool(rows) and rows[-1]["epoch"] - rows[-1]["best_epoch"] >= self.epochs

    def restore(self, net: nn.Module) -> None:
        """Load the weights of the best epoch."""
        load_net(net, self.weights)

    def _merit(self, row: Row) -> float:
        score = row[self.monitor]
        if math.isnan(score):
            return -math.inf
        return -score if self.monitor.endswith("_nll") else score
