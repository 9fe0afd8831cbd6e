"""Post-hoc logit adjustment: balance a net that was trained with a plain loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt
import torch

from counterpoise.losses._check import Counts, check_tensors, count_vector
from counterpoise.losses._logit_adjusted import log_prior

Score = Callable[[torch.Tensor, torch.Tensor], float]
GRID = tuple(k / 10 for k in range(31))


@overload
def adjust_logits(
    logits: torch.Tensor,
    counts: Counts,
    tau: float = 1.0,
    target_prior: Counts | None = None,
    axis: int = 1,
) -> torch.Tensor: ...
@overload
def adjust_logits(
    logits: npt.NDArray[np.floating],
    counts: Counts,
    tau: float = 1.0,
    target_prior: Counts | None = None,
    axis: int = 1,
) -> npt.NDArray[np.floating]: ...
def adjust_logits(
    logits: torch.Tensor | npt.NDArray[np.floating],
    counts: Counts,
    tau: float = 1.0,
    target_prior: Counts | None = None,
    axis: int = 1,
) -> torch.Tensor | npt.NDArray[np.floating]:
    r"""Replace the prior of the training data in the logits of a trained net by another.

    .. math::
        z'_j = z_j - \tau \log \pi_j + \tau \log \pi^\text{target}_j, \qquad
        \pi_j = \frac{n_j}{\sum_k n_k}

    with logits z and the count n_j of class j. With tau = 1 this is Bayes' rule for data whose
    classes occur as `target_prior` says instead of as in training; other tau correct a net that
    over- or understates its certainty (`choose_tau`).
    It is for nets trained with a plain loss: one trained with `LogitAdjustedLoss` or
    `BalancedSoftmaxLoss` is adjusted already.

    An empty class counts as the rarest of the others, as in `LogitAdjustedLoss`. A class that
    `target_prior` gives 0 is ruled out: its logit becomes -inf, unless tau is 0, which changes
    nothing.

    Source: Menon et al. 2021, arXiv 2007.07314, eq. 9 (without a target prior).

    Args:
        logits: (N, C, ...), or (C); floating; a tensor or a NumPy array.
        counts: samples of each class as the training saw them, (C) or a dict or Counter by class:
            `count_classes(targets)`, or with a balancing sampler its `seen_counts()`.
        tau: how far, at least 0.
        target_prior: how often each class occurs where the net is used, (C), as shares or counts;
            None for all alike, and then no constant is added: the formula is the paper's.
        axis: where the classes are; of (C), always 0.

    Returns:
        New logits, in the kind, shape and dtype of the old ones (the adjustment in float32 or
        more).

    Raises:
        TypeError: logits that are no tensor or array, or not floating.
        ValueError: counts, tau or target_prior out of range or not one per class.

    Example:
        >>> import torch
        >>> from counterpoise.losses import adjust_logits
        >>> adjust_logits(torch.tensor([[1.0, 0.0]]), counts=[90, 10]).argmax(1)
        tensor([1])
    """
    if isinstance(logits, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(logits))
        return adjust_logits(tensor, counts, tau, target_prior, axis).numpy()
    axis = _find_axis(logits, axis)
    if not 0 <= tau < float("inf"):
        raise ValueError(f"tau must be a finite number >= 0, but got {tau}; 0 adjusts nothing")
    shift = _shift(counts, target_prior)
    if len(shift) != logits.shape[axis]:
        raise ValueError(
            f"counts must have one entry per class, but got {len(shift)} for the "
            f"{logits.shape[axis]} classes in axis {axis} of logits {tuple(logits.shape)}"
        )
    shift = tau * shift if tau else torch.zeros_like(shift)
    wide = torch.promote_types(logits.dtype, torch.float32)
    shape = [-1 if k == axis else 1 for k in range(logits.dim())]
    return (logits + shift.to(logits.device, wide).view(shape)).to(logits.dtype)


@dataclass(frozen=True)
class TauChoice:
    """The result of `choose_tau` and `choose_norm_tau`.

    Attributes:
        tau: the chosen tau.
        score: its score.
        scores: the score of every tau of the grid, in the grid's order.
    """

    tau: float
    score: float
    scores: Mapping[float, float]


def choose_tau(
    logits: torch.Tensor | npt.NDArray[np.floating],
    target: torch.Tensor | npt.NDArray[np.integer],
    counts: Counts,
    metric: str | Score = "balanced_accuracy",
    grid: Sequence[float] | None = None,
    target_prior: Counts | None = None,
) -> TauChoice:
    """Choose the tau of `adjust_logits` whose predictions score best on validation data.

    Of several that score the same (within 1e-12), the one closest to 1 is chosen, which is the
    value that theory gives; of two as close, the smaller. Choose on validation data: on the test
    data the score would be flattering.

    Args:
        logits: of the validation data, (N, C, ...); a tensor or a NumPy array, as the target.
        target: class numbers, int64 (N, ...).
        counts: samples of each class as the *training* saw them, (C).
        metric: "balanced_accuracy" (the mean recall of the classes in `target`), "accuracy", or a
            function from predictions and target, both int64 (N, ...), to a number, higher better.
        grid: the tau to try; None for 0, 0.1, ..., 3.
        target_prior: as in `adjust_logits`.

    Raises:
        TypeError: logits that are not floating, or a target that is not of integers.
        ValueError: shapes that do not fit, no samples, an empty grid, logits or scores that are
            NaN, an unknown metric.

    Example:
        >>> import torch
        >>> from counterpoise.losses import choose_tau
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 1.0], [2.0, 0.5]])
        >>> found = choose_tau(logits, torch.tensor([0, 1, 1]), counts=[90, 10], grid=[0, 0.8, 2])
        >>> found.tau, found.score
        (0.8, 1.0)
    """
    held = torch.as_tensor(logits)

    def adjusted(tau: float) -> torch.Tensor:
        return adjust_logits(held.detach(), counts, tau, target_prior)

    return best_tau(adjusted, held, torch.as_tensor(target), metric, GRID if grid is None else grid)


def best_tau(
    adjusted: Callable[[float], torch.Tensor],
    logits: torch.Tensor,
    target: torch.Tensor,
    metric: str | Score,
    grid: Sequence[float],
) -> TauChoice:
    """Return the tau of the grid whose logits, `adjusted(tau)`, score best: `choose_tau`."""
    _check(logits, target)
    score = _find_metric(metric)
    scores = {float(tau): float(score(adjusted(tau).argmax(1), target)) for tau in grid}
    if not scores or any(s != s for s in scores.values()):
        raise ValueError(f"choose_tau needs a number for at least one tau, but scored {scores}")
    best = max(scores.values())
    tau = min((t for t, s in scores.items() if s >= best - 1e-12), key=lambda t: (abs(t - 1), t))
    return TauChoice(tau, scores[tau], scores)


def _find_axis(logits: torch.Tensor, axis: int) -> int:
    """Return the classes' axis, counted from 0."""
    check_tensors(logits=logits)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, but got {logits.dtype}; use logits.float()")
    axis = 0 if logits.dim() == 1 else axis
    if not -logits.dim() <= axis < logits.dim():
        raise ValueError(
            f"axis must be one of logits', but got {axis} for shape {tuple(logits.shape)}"
        )
    return axis % logits.dim()


def _shift(counts: Counts, target_prior: Counts | None) -> torch.Tensor:
    """Return the term added to each class's logit for tau = 1, in float64."""
    shift = -log_prior(counts)
    if target_prior is None:
        return shift
    target = count_vector(target_prior, "target_prior")
    if target.shape != shift.shape:
        raise ValueError(
            f"target_prior must be one share per class, as many as counts, but got {len(target)} "
            f"for {len(shift)} classes"
        )
    return shift + torch.log(target.to(shift.device) / target.sum())


def _check(logits: torch.Tensor, target: torch.Tensor) -> None:
    if target.is_floating_point() or target.dtype == torch.bool:
        raise TypeError(f"target must hold class numbers (int64), but got {target.dtype}")
    if logits.dim() < 2 or (logits.shape[0], *logits.shape[2:]) != tuple(target.shape):
        raise ValueError(
            f"logits must be (N, C, ...) and target (N, ...), but got {tuple(logits.shape)} and "
            f"{tuple(target.shape)}"
        )
    if not target.numel() or bool(logits.isnan().any()):
        raise ValueError(
            f"choose_tau needs samples, and logits without NaN, but got {tuple(logits.shape)}"
        )
    if int(target.min()) < 0 or int(target.max()) >= logits.shape[1]:
        raise ValueError(
            f"target must be within 0 .. {logits.shape[1] - 1}, but holds {int(target.min())} .. "
            f"{int(target.max())}; leave out samples that are to be ignored"
        )


def _find_metric(metric: str | Score) -> Score:
    if not isinstance(metric, str):
        return metric
    if metric not in METRICS:
        raise ValueError(
            f"metric must be one of {tuple(METRICS)} or a function of predictions and target, but "
            f"got {metric!r}"
        )
    return METRICS[metric]


def _accuracy(predicted: torch.Tensor, target: torch.Tensor) -> float:
    return float((predicted == target).double().mean())


def _balanced_accuracy(predicted: torch.Tensor, target: torch.Tensor) -> float:
    total = torch.bincount(target.flatten())
    right = torch.bincount(target[predicted == target], minlength=len(total))
    return float((right[total > 0].double() / total[total > 0]).mean())


METRICS: dict[str, Score] = {"balanced_accuracy": _balanced_accuracy, "accuracy": _accuracy}
