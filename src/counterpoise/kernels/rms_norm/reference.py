"""RMS normalization as the paper writes it (Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4)."""

import torch

from counterpoise.kernels._layout import in_float32


@in_float32
def rms_norm(
    x: torch.Tensor,
    normalized_shape: tuple[int, ...],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor:
    """y = weight * x / sqrt(mean(x^2) + eps), the mean over the axes of `normalized_shape`.

    Without eps it is the machine epsilon of x's dtype; for half precision that of float32, as in
    torch.
    """
    axes = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(torch.promote_types(x.dtype, torch.float32)).eps if eps is None else eps
    y = x / torch.sqrt(x.square().mean(axes, keepdim=True) + eps)
    return y if weight is None else y * weight
