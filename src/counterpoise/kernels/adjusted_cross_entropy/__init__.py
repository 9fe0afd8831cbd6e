"""The family of softmax losses for imbalance: exact, and with finite gradients at every logit."""

import warnings
from collections.abc import Callable
from functools import cache

import torch

from counterpoise.kernels._backend import asked
from counterpoise.kernels.adjusted_cross_entropy import composed, one_pass
from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters
from counterpoise.kernels.adjusted_cross_entropy._samples import (
    PART,
    Samples,
    ordinary,
    readable,
)

__all__ = ["PART", "Parameters", "Samples", "adjusted_cross_entropy", "readable"]


def adjusted_cross_entropy(
    logits: torch.Tensor,
    samples: Samples,
    parameters: Parameters,
    reduction: str = "none",
    normalizer: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """weight_t * (1 - p_t)^gamma * (-log(p_t) + poly * (1 - p_t)) for each sample, or reduced.

    `compiled.c` on the CPU and `fused.py` on a GPU are quick and take no memory but the gradient's;
    `one_pass.py` is that out of torch's operators, for where they do not run and other dtypes;
    `composed.py` is for torch.compile, torch.func, forward-mode AD and parameters that require a
    gradient; `expected.py` beside it for probabilities and label smoothing.

    Args:
        logits: (N, C, ...), any floating dtype; half precision is computed in float32.
        samples: class numbers (N, ...) or probabilities (N, C, ...), and what they weigh.
        parameters: scale, offset, margin, gamma and poly.
        reduction: "none", "sum", "mean" (over the weights) or "batchmean" (over what counts).
        normalizer: what mean and batchmean divide by instead.

    Returns:
        The logits' dtype.
    """
    plain = (
        ordinary(logits) and logits.numel() > 0 and not _learned(samples, parameters, normalizer)
    )
    way = one_pass.adjusted_cross_entropy if plain else composed.of_samples
    of_gpu = logits.is_cuda and logits.dtype != torch.float64 and not samples.spread
    if plain and of_gpu and not asked():
        given = (samples.target, samples.weight, samples.sample_weight, *parameters[:3])
        if all(x is None or x.device == logits.device for x in given):
            way = _fused() or way
    return way(logits, samples, parameters, reduction, normalizer)


@cache
def _fused() -> Callable[..., torch.Tensor] | None:
    """The kernel in Triton, if it runs here: it wants a C compiler of its own, say."""
    try:
        from counterpoise.kernels.adjusted_cross_entropy import fused

        logits, target = torch.zeros(1, 2, device="cuda"), torch.zeros(1, dtype=torch.long)
        fused.adjusted_cross_entropy(logits, Samples(target.cuda()), Parameters())
    except Exception as error:
        warnings.warn(
            f"the losses' GPU kernel does not run here ({type(error).__name__}: {error}); torch's "
            "operators do the work",
            stacklevel=2,
        )
        return None
    return fused.adjusted_cross_entropy


def _learned(
    samples: Samples, parameters: Parameters, normalizer: torch.Tensor | float | None
) -> bool:
    for x in (samples.target, samples.weight, samples.sample_weight, *parameters[:3], normalizer):
        if isinstance(x, torch.Tensor) and x.requires_grad:
            return True
    return False
