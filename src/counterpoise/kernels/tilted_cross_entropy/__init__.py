"""The family of softmax losses for imbalance: exact, and with finite gradients at every logit."""

import torch

from counterpoise.kernels.tilted_cross_entropy import composed, one_pass
from counterpoise.kernels.tilted_cross_entropy._samples import (
    PART,
    Samples,
    guarded,
    harmless,
    ordinary,
    readable,
)
from counterpoise.kernels.tilted_cross_entropy._tilt import Tilt

__all__ = ["PART", "Samples", "Tilt", "guarded", "harmless", "readable", "tilted_cross_entropy"]


def tilted_cross_entropy(
    logits: torch.Tensor,
    samples: Samples,
    tilt: Tilt,
    reduction: str = "none",
    normalizer: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """weight_t * (1 - p_t)^gamma * (-log(p_t) + poly * (1 - p_t)) for each sample, or reduced.

    `one_pass.py` is quick and takes no memory but the gradient's; `composed.py` is for
    torch.compile, torch.func, forward-mode AD, and letters that want a gradient themselves.

    Args:
        logits: (N, C, ...), any floating dtype; half precision is computed in float32.
        samples: class numbers (N, ...), and what they weigh.
        tilt: the letters of the formula.
        reduction: "none", "sum", "mean" (over the weights) or "batchmean" (over what counts).
        normalizer: what mean and batchmean divide by instead.

    Returns:
        The logits' dtype.
    """
    plain = ordinary(logits) and logits.numel() > 0 and not _learned(samples, tilt, normalizer)
    way = one_pass.tilted_cross_entropy if plain else composed.of_samples
    return way(logits, samples, tilt, reduction, normalizer)


def _learned(samples: Samples, tilt: Tilt, normalizer: torch.Tensor | float | None) -> bool:
    for x in (samples.weight, samples.sample_weight, *tilt[:3], normalizer):
        if isinstance(x, torch.Tensor) and x.requires_grad:
            return True
    return False
