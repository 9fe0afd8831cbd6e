"""Class probabilities out of a net's logits, whatever loss and sampler it was trained with.

`Link` undoes the loss, `Posterior` the sampler and overconfidence, and `estimate_prior` finds the
class shares of new data. NumPy alone, without torch.
"""

from counterpoise.probabilities._link import Link
from counterpoise.probabilities._posterior import METHODS, Method, Posterior
from counterpoise.probabilities._prior import PriorEstimate, estimate_prior, move_prior

__all__ = [
    "METHODS",
    "Link",
    "Method",
    "Posterior",
    "PriorEstimate",
    "estimate_prior",
    "move_prior",
]
