"""A linear layer of directions: the head that margin losses need."""

import torch
from torch import nn


class NormedLinear(nn.Linear):
    r"""The cosine of the angle between the input and each class's weight.

        y_j = <x, w_j> / (|x| * |w_j|)

    A margin between logits, as `LDAMLoss` sets one, means nothing as long as the net can scale its
    logits; here they are within -1 .. 1, and the loss's `scale` brings them back to a useful range
    (30 in the paper). There is no bias. An x or w_j no longer than `eps` has no direction: its
    cosines are 0, and so is the gradient that reaches it.

    Source: Cao et al. 2019, arXiv 1906.07413, section 3.2, and the authors' code, whose weight is
    the transpose of this one.

    Args:
        in_features: the length of the inputs.
        out_features: how many classes.
        eps: the length up to which a vector counts as zero.
        device: where the weight lives.
        dtype: of the weight.

    Attributes:
        weight: (out_features, in_features) as in `torch.nn.Linear`, each row of length 1 at first
            and uniform in the cube before that, as the authors'.

    Shape: (..., in_features) to (..., out_features). Lengths of half precision are computed in
        float32.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if in_features < 1 or out_features < 1 or not eps >= 0:
            raise ValueError(
                "NormedLinear needs at least one input and one class, and eps >= 0, but got "
                f"{in_features}, {out_features} and {eps}"
            )
        self.eps = eps
        super().__init__(in_features, out_features, bias=False, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new directions."""
        with torch.no_grad():
            self.weight.uniform_(-1, 1)
            self.weight.copy_(_direction(self.weight, self.eps))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the cosines."""
        x, w = _direction(input, self.eps), _direction(self.weight, self.eps)
        return nn.functional.linear(x, w)

    def extra_repr(self) -> str:
        """What print(head) shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}, eps={self.eps:g}"


def _direction(x: torch.Tensor, eps: float) -> torch.Tensor:
    """Return x of length 1 along the last axis, or 0 where it is no longer than eps."""
    wide = torch.promote_types(x.dtype, torch.float32)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    # Divided by infinity both the value and the gradient are 0, and never NaN.
    return (x / length.masked_fill(length <= eps, torch.inf)).to(x.dtype)
