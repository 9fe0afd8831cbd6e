"""Cosine classifier: the head that margin losses need."""

import torch
from torch import nn


class NormedLinear(nn.Linear):
    r"""Cosine classifier: a linear layer on normalized inputs with normalized weights.

    .. math::
        y_j = \frac{x \cdot w_j}{\|x\| \, \|w_j\|}

    A margin between logits, as in `LDAMLoss`, has no effect as long as the net can scale its
    logits; here they are within -1 .. 1, and the loss's `scale` (30 in the paper) multiplies them.
    There is no bias. Where the norm of x or w_j is at most `eps`, the cosines are 0, and so is the
    gradient.

    Source: Cao et al. 2019, arXiv 1906.07413, section 3.2, and the authors' code, whose weight is
    the transpose of this one.

    Args:
        in_features: size of each input.
        out_features: number of classes.
        eps: the norm up to which a vector counts as zero.
        scale: the factor of the cosines; 1 for losses that scale by themselves, such as LDAM, else
            about 30, as cosines alone cannot tell classes apart by much (arXiv 1801.09414, eq. 6).
        device: device of the weight.
        dtype: dtype of the weight.

    Attributes:
        weight: (out_features, in_features) as in `torch.nn.Linear`; initialized uniformly in
            [-1, 1], then each row scaled to norm 1, as in the authors' code.

    Shape: (..., in_features) to (..., out_features). Norms are computed in float32 at least.

    Raises:
        ValueError: sizes below 1, or a negative eps.

    Example:
        >>> import torch
        >>> from counterpoise.models import NormedLinear
        >>> head = NormedLinear(4, 3)
        >>> cosine = head(7 * head.weight)  # each class's own direction, made longer
        >>> cosine.shape, bool(cosine.diagonal().allclose(torch.ones(3)))
        (torch.Size([3, 3]), True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        eps: float = 1e-12,
        scale: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if in_features < 1 or out_features < 1 or not eps >= 0:
            raise ValueError(
                "NormedLinear needs at least one input and one class, and eps >= 0, but got "
                f"{in_features}, {out_features} and {eps}"
            )
        self.eps, self.scale = eps, scale
        super().__init__(in_features, out_features, bias=False, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new weights of norm 1."""
        with torch.no_grad():
            self.weight.uniform_(-1, 1)
            self.weight.copy_(_direction(self.weight, self.eps))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the cosines."""
        x, w = _direction(input, self.eps), _direction(self.weight, self.eps)
        return nn.functional.linear(x, w) * self.scale

    def extra_repr(self) -> str:
        """Return the arguments that the repr shows."""
        scale = f", scale={self.scale:g}" if self.scale != 1 else ""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, eps={self.eps:g}"
            f"{scale}"
        )


def _direction(x: torch.Tensor, eps: float) -> torch.Tensor:
    """Return x divided by its norm along the last axis, or 0 where that is at most eps."""
    wide = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    # Divided by infinity both the value and the gradient are 0, and never NaN.
    return (x / norm.masked_fill(norm <= eps, torch.inf)).to(x.dtype)
