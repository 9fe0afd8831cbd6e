"""Sharpness-aware minimization (SAM)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_EPS = 1e-12


@contextmanager
def climbed(
    parameters: Sequence[nn.Parameter], rho: float, buffers: Iterable[Tensor]
) -> Iterator[None]:
    r"""Hold parameters where the loss is about highest near them, for a second gradient.

    .. math::
        w \leftarrow w - \eta \, \nabla L(w + e), \qquad
        e = \rho \frac{\nabla L(w)}{\|\nabla L(w)\|_2}

    The norm is over all parameters together. Within the context they are at w + e and have no
    gradient; afterwards they are at w again, to the bit, with the gradient of w + e, for an
    optimizer's step. Buffers are what they were: running statistics of batch norms are those of the
    first pass alone, as in the usual implementation (github.com/davda54/sam).

    Source: Foret et al. 2021, arXiv 2010.01412, eq. 2 and algorithm 1.

    Args:
        parameters: with the gradients at w of the whole batch.
        rho: the radius.
        buffers: to keep.
    """
    moved: list[Tensor] = [p for p in parameters if p.grad is not None]
    gradients = [p.grad for p in moved if p.grad is not None]
    kept = [(x, x.detach().clone()) for x in (*moved, *buffers)]
    factor = rho / (nn.utils.get_total_norm(gradients) + _EPS)
    with torch.no_grad():
        torch._foreach_add_(moved, torch._foreach_mul(gradients, factor))
    for p in moved:
        p.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for x, before in kept:
                x.copy_(before)
