"""The family of softmax losses for imbalance: exact, and with finite gradients at every logit."""

import torch

from counterpoise.kernels._eager import plain_eager
from counterpoise.kernels.tilted_cross_entropy import composed, one_pass
from counterpoise.kernels.tilted_cross_entropy._tilt import Tilt

__all__ = ["Tilt", "tilted_cross_entropy"]


def tilted_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    factor: torch.Tensor | float,
    tilt: Tilt,
    total: bool = False,
) -> torch.Tensor:
    """factor * (1 - p_t)^gamma * (-log(p_t) + poly * (1 - p_t)) for each sample, or their sum.

    `one_pass.py` is quick and takes no memory but the gradient's; `composed.py` is for
    torch.compile, torch.func, forward-mode AD, and letters that want a gradient themselves.

    Args:
        logits: (N, C, ...), any floating dtype; half precision is computed in float32.
        target: (N, ...) int64, within 0 .. C-1.
        factor: a number, or a tensor that expands to the target's shape.
        tilt: the letters of the formula.
        total: return the sum instead of (N, ...).

    Returns:
        The logits' dtype.
    """
    if logits.numel() and plain_eager() and not _learned(factor, *tilt):
        return one_pass.tilted_cross_entropy(logits, target, factor, tilt, total)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = composed.of_class(wide, target, factor, tilt)
    return (losses.sum() if total else losses).to(logits.dtype)


def _learned(*letters: object) -> bool:
    return any(isinstance(x, torch.Tensor) and x.requires_grad for x in letters)
