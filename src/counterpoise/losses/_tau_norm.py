"""τ-normalization: balance a trained linear head by the norms of its rows."""

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt
import torch

from counterpoise.losses._check import check_tensors
from counterpoise.losses._post_hoc import Score, TauChoice, best_tau

Vector = torch.Tensor | npt.NDArray[np.floating] | Sequence[float]
GRID = tuple(k / 10 for k in range(21))


@overload
def normalize_logits(
    logits: torch.Tensor, norms: Vector, bias: Vector | None = None, tau: float = 1.0
) -> torch.Tensor: ...
@overload
def normalize_logits(
    logits: npt.NDArray[np.floating], norms: Vector, bias: Vector | None = None, tau: float = 1.0
) -> npt.NDArray[np.floating]: ...
def normalize_logits(
    logits: torch.Tensor | npt.NDArray[np.floating],
    norms: Vector,
    bias: Vector | None = None,
    tau: float = 1.0,
) -> torch.Tensor | npt.NDArray[np.floating]:
    r"""Divide the logits of a trained linear head by powers of its rows' norms, without its bias.

    .. math::
        z'_j = \frac{w_j \cdot x}{\lVert w_j \rVert^\tau}
             = \frac{z_j - b_j}{\lVert w_j \rVert^\tau}

    with logits z, bias b and the row w_j of class j. In heads trained on imbalanced data the rows
    of rare classes tend to be shorter, which makes their logits smaller. With tau = 0 the bias
    alone is dropped, with tau = 1 all rows have the length 1; no features are needed. As
    `adjust_logits`, it is for nets trained with a plain loss; not for cosine heads, whose rows have
    that length already.

    Source: Kang et al. 2020, arXiv 1910.09217, section 4.2.

    Args:
        logits: of the head, (N, C, ...); floating; a tensor or a NumPy array.
        norms: Euclidean norm of each class's row of the weights, (C), above 0.
        bias: of the head, (C); None for a head without one.
        tau: how far, at least 0; `choose_norm_tau` chooses it on validation data.

    Returns:
        New logits, in the kind, shape and dtype of the old ones (computed in float64).

    Raises:
        TypeError: logits that are no tensor or array, or not floating.
        ValueError: norms, bias or tau out of range, or not one per class.

    Example:
        >>> import torch
        >>> from counterpoise.losses import normalize_logits
        >>> head = torch.nn.Linear(8, 3)
        >>> logits = head(torch.randn(5, 8))
        >>> normalize_logits(logits, head.weight.norm(dim=1), head.bias).shape
        torch.Size([5, 3])
    """
    if isinstance(logits, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(logits))
        return normalize_logits(tensor, norms, bias, tau).numpy()
    check_tensors(logits=logits)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, but got {logits.dtype}; use logits.float()")
    if not 0 <= tau < float("inf"):
        raise ValueError(f"tau must be a finite number >= 0, but got {tau}; 0 drops the bias alone")
    rows = _per_class(norms, "norms", logits)
    if not bool((rows > 0).all()):
        raise ValueError(f"norms must be above 0, but the lowest is {rows.min():g}; see its head")
    shift = torch.zeros_like(rows) if bias is None else _per_class(bias, "bias", logits)
    shape = [-1, *[1] * (logits.dim() - 2)]
    return ((logits - shift.view(shape)) / rows.view(shape) ** tau).to(logits.dtype)


def choose_norm_tau(
    logits: torch.Tensor | npt.NDArray[np.floating],
    target: torch.Tensor | npt.NDArray[np.integer],
    norms: Vector,
    bias: Vector | None = None,
    metric: str | Score = "balanced_accuracy",
    grid: Sequence[float] | None = None,
) -> TauChoice:
    """Choose the tau of `normalize_logits` whose predictions score best on validation data.

    Ties are settled as in `choose_tau`.

    Args:
        logits: of the validation data, (N, C, ...); a tensor or a NumPy array, as the target.
        target: class numbers, int64 (N, ...).
        norms: as in `normalize_logits`.
        bias: the same.
        metric: as in `choose_tau`.
        grid: the tau to try; None for 0, 0.1, ..., 2.

    Raises:
        TypeError: logits that are not floating, or a target that is not of integers.
        ValueError: shapes that do not fit, no samples, an empty grid, logits or scores that are
            NaN, an unknown metric, norms that are not above 0.

    Example:
        >>> import torch
        >>> from counterpoise.losses import choose_norm_tau
        >>> logits = torch.tensor([[4.0, 1.0], [2.0, 0.9]])
        >>> choose_norm_tau(logits, torch.tensor([0, 1]), norms=[3.0, 1.0]).tau
        1.0
    """
    held = torch.as_tensor(logits)

    def normalized(tau: float) -> torch.Tensor:
        return normalize_logits(held.detach(), norms, bias, tau)

    return best_tau(
        normalized, held, torch.as_tensor(target), metric, GRID if grid is None else grid
    )


def _per_class(values: Vector, name: str, logits: torch.Tensor) -> torch.Tensor:
    """Return a finite number for each class, in float64 where the logits are."""
    found = torch.as_tensor(values, dtype=torch.float64, device=logits.device).detach()
    if logits.dim() < 2 or found.shape != logits.shape[1:2] or not bool(found.isfinite().all()):
        raise ValueError(
            f"{name} must be a finite number for each class of logits (N, C, ...), but got "
            f"{tuple(found.shape)} for logits {tuple(logits.shape)}"
        )
    return found
