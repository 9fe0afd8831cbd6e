"""What reaches each layer: activations forward, gradients backward, updates by the optimizer.

`watch` looks on while you train; `first_step` makes one pass of its own and leaves no trace.
"""

from counterpoise.probe._first_step import Loss, first_step
from counterpoise.probe._flow import Flow, watch

__all__ = ["Flow", "Loss", "first_step", "watch"]
