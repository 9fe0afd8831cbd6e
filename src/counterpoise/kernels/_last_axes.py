"""What layer and RMS normalization share: the last axes of a tensor, in any memory layout.

A mean over all of (C, H, W) does not depend on the order of its terms: a `channels_last` tensor is
normalized as the (H, W, C) rows that it is, and only the small weight and bias move. torch's layers
copy the whole tensor there and return it contiguous.
"""

from collections.abc import Callable

from torch import Tensor

from counterpoise.kernels._backend import reference_asked
from counterpoise.kernels._eager import channels_last_of


def way(x: Tensor, normalized_shape: tuple[int, ...]) -> tuple[str, str]:
    """The way that is taken for a tensor, and the reason."""
    if reference_asked():
        return "reference", "asked for by norms.backend"
    if channels_last_of(x) is None:
        return "native", "torch's kernel, which copies what is not contiguous"
    if len(normalized_shape) == x.dim() - 1:
        return "view", "channels_last is normalized as the (H, W, C) rows that it is, uncopied"
    return "copies", "torch's kernel, and the layout restored: some axes alone are no rows"


def by_way(
    taken: str, norm: Callable[..., Tensor], x: Tensor, shape: tuple[int, ...], *own: Tensor | None
) -> Tensor:
    """`norm(x, shape, *own)`, own being weight and bias; the memory layout of x is kept."""
    if taken == "view":
        last = len(shape)
        rows = x.permute(0, *range(2, last + 1), 1)
        moved = (None if p is None else p.permute(*range(1, last), 0) for p in own)
        return norm(rows, rows.shape[1:], *moved).permute(0, last, *range(1, last))
    y = norm(x, shape, *own)
    memory = channels_last_of(x) if taken == "copies" else None
    return y if memory is None else y.contiguous(memory_format=memory)
