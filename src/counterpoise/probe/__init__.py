"""Measure each layer: activations forward, gradients backward, updates by the optimizer.

`watch` measures while you train; `first_step` makes one pass of its own and leaves no trace.
"""

from counterpoise.probe._first_step import Loss, first_step
from counterpoise.probe._flow import Flow, watch
from counterpoise.probe.layer import LayerRow

__all__ = ["Flow", "LayerRow", "Loss", "first_step", "watch"]
