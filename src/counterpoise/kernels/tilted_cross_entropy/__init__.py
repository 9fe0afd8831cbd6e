"""The family of softmax losses for imbalance: exact, and with finite gradients at every logit."""

import warnings
from collections.abc import Callable
from functools import cache

import torch

from counterpoise.kernels._backend import asked
from counterpoise.kernels.tilted_cross_entropy import composed, one_pass
from counterpoise.kernels.tilted_cross_entropy._samples import (
    PART,
    Samples,
    ordinary,
    readable,
)
from counterpoise.kernels.tilted_cross_entropy._tilt import Tilt

__all__ = ["PART", "Samples", "Tilt", "readable", "tilted_cross_entropy"]


def tilted_cross_entropy(
    logits: torch.Tensor,
    samples: Samples,
    tilt: Tilt,
    reduction: str = "none",
    normalizer: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """weight_t * (1 - p_t)^gamma * (-log(p_t) + poly * (1 - p_t)) for each sample, or reduced.

    `compiled.c` on the CPU and `fused.py` on a GPU are quick and take no memory but the gradient's;
    `one_pass.py` is that out of torch's operators, for where they do not run and other dtypes;
    `composed.py` is for torch.compile, torch.func, forward-mode AD and letters that want a gradient
    themselves; `expected.py` beside it for probabilities and label smoothing.

    Args:
        logits: (N, C, ...), any floating dtype; half precision is computed in float32.
        samples: class numbers (N, ...) or probabilities (N, C, ...), and what they weigh.
        tilt: the letters of the formula.
        reduction: "none", "sum", "mean" (over the weights) or "batchmean" (over what counts).
        normalizer: what mean and batchmean divide by instead.

    Returns:
        The logits' dtype.
    """
    plain = ordinary(logits) and logits.numel() > 0 and not _learned(samples, tilt, normalizer)
    way = one_pass.tilted_cross_entropy if plain else composed.of_samples
    of_gpu = logits.is_cuda and logits.dtype != torch.float64 and not samples.spread
    if plain and of_gpu and not asked():
        given = (samples.target, samples.weight, samples.sample_weight, *tilt[:3])
        if all(x is None or x.device == logits.device for x in given):
            way = _fused() or way
    return way(logits, samples, tilt, reduction, normalizer)


@cache
def _fused() -> Callable[..., torch.Tensor] | None:
    """The kernel in Triton, if it runs here: it wants a C compiler of its own, say."""
    try:
        from counterpoise.kernels.tilted_cross_entropy import fused

        logits, target = torch.zeros(1, 2, device="cuda"), torch.zeros(1, dtype=torch.long)
        fused.tilted_cross_entropy(logits, Samples(target.cuda()), Tilt())
    except Exception as error:
        warnings.warn(
            f"the losses' GPU kernel does not run here ({type(error).__name__}: {error}); torch's "
            "operators do the work",
            stacklevel=2,
        )
        return None
    return fused.tilted_cross_entropy


def _learned(samples: Samples, tilt: Tilt, normalizer: torch.Tensor | float | None) -> bool:
    for x in (samples.target, samples.weight, samples.sample_weight, *tilt[:3], normalizer):
        if isinstance(x, torch.Tensor) and x.requires_grad:
            return True
    return False
