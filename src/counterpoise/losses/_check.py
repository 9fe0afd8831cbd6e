"""Checks of the losses' arguments, and the errors they raise."""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from numbers import Real
from typing import TypedDict

import numpy as np
import torch

from counterpoise.arguments import Counts, read_counts
from counterpoise.kernels.adjusted_cross_entropy import Arguments
from counterpoise.kernels.dispatch import readable
from counterpoise.labels import ONE_LOGIT
from counterpoise.registry import unknown

Values = torch.Tensor | Sequence[float] | None
REDUCTIONS = ("mean", "batchmean", "sum", "none")
EMPTY: Mapping[str, str] = {}
LEAST_POLY = "; below -1 a better answer could cost more"


class Reducing(TypedDict, total=False):
    """The settings that every softmax loss takes."""

    label_smoothing: float
    ignore_index: int
    reduction: str


class Weighting(Reducing, total=False):
    """The same, and class weights."""

    weight: Values


class Focusing(Weighting, total=False):
    """The same, and the focal loss's γ."""

    gamma: float | torch.Tensor | Sequence[float]


def refuse_settings(loss: object, names: Iterable[str]) -> None:
    """Refuse settings that a loss does not have, and ask which was meant."""
    for name in names:
        parameters = [inspect.signature(c.__init__).parameters for c in type(loss).__mro__[:-2]]
        known = dict.fromkeys(chain(*parameters))
        known = [n for n in known if n not in ("self", "args", "kwargs", "settings", "unknown")]
        raise TypeError(unknown(f"a setting of {type(loss).__name__}", name, known))


def check_reduction(reduction: str, allowed: Sequence[str] = REDUCTIONS) -> None:
    """Refuse an unknown reduction."""
    if reduction not in allowed:
        raise ValueError(f"reduction must be one of {tuple(allowed)}, but got {reduction!r}")


def check_tensors(**values: object) -> None:
    """Refuse values that are no tensors; None stands for none given."""
    for name, value in values.items():
        if value is not None and not isinstance(value, torch.Tensor):
            raise TypeError(
                f"{name} must be a tensor, but got {type(value).__name__}; use torch.tensor({name})"
            )


def as_number(name: str, value: object, least: float = -math.inf, hint: str = "") -> float:
    """A finite number, not below `least`, of whatever kind, as a float."""
    if isinstance(value, torch.Tensor) and value.requires_grad:
        raise TypeError(
            f"{name} must be a number, but got a tensor that asks for a gradient; it would get "
            f"none: give {name}.item()"
        )
    if not isinstance(value, Real) and getattr(value, "ndim", None) != 0:
        raise TypeError(f"{name} must be a number, but got {value!r}{hint}")
    number = float(value)  # type: ignore[arg-type]
    if not least <= number < math.inf or number == -math.inf:
        kind = "finite number" if least == -math.inf else f"number >= {least:g}"
        raise ValueError(f"{name} must be a {kind}, but got {number}{hint}")
    return number


def check_settings(gamma: object, poly: float, label_smoothing: float, reduction: str) -> None:
    """Refuse numbers for which the family has no loss."""
    if isinstance(gamma, float) and type(poly) is type(label_smoothing) is float:  # at once, often
        in_range = 0 <= gamma < math.inf and -1 <= poly < math.inf and 0 <= label_smoothing <= 1
        if in_range and reduction in REDUCTIONS:
            return
    as_number("gamma", gamma, 0, "; the focal loss's paper uses 2")
    as_number("poly", poly, -1, LEAST_POLY)
    if as_number("label_smoothing", label_smoothing, 0) > 1:
        raise ValueError(f"label_smoothing must be within 0 .. 1, but got {label_smoothing}")
    check_reduction(reduction)


def check_call(
    logits: torch.Tensor, arguments: Arguments, names: Mapping[str, str] = EMPTY
) -> None:
    """Refuse arguments that do not fit together; of tensors, look at shapes and dtypes only.

    Args:
        logits: the loss's.
        arguments: the same.
        names: the caller's word for a vector, where it was made from something else.
    """
    (target, weight, sample_weight, scale, offset, margin, gamma, normalizer, poly) = arguments[:9]
    label_smoothing, ignore_index, reduction = arguments[9:]
    per_class = gamma if isinstance(gamma, torch.Tensor) and gamma.dim() else None
    check_settings(0.0 if per_class is not None else gamma, poly, label_smoothing, reduction)
    if not (isinstance(logits, torch.Tensor) and isinstance(target, torch.Tensor)):
        check_tensors(logits=logits, target=target)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, but got {logits.dtype}; use logits.float()")
    shape = tuple(logits.shape)  # which is sliced quicker
    if not shape:
        raise ValueError("logits must be (C), (N, C) or (N, C, d1, ...), but got a single number")
    axis = 1 if len(shape) > 1 else 0
    classes, samples = shape[axis], shape[:axis] + shape[axis + 1 :]
    if target.dtype != torch.int64 or target.shape != samples:
        _check_target(logits, target, samples, ignore_index)
    if classes < 2:
        raise ValueError(f"logits must have two classes or more, but got {shape}; {ONE_LOGIT}")
    for v in (weight, scale, offset, margin, per_class):
        if v is not None and (not isinstance(v, torch.Tensor) or v.shape != (classes,)):
            vectors = {"weight": weight, "scale": scale, "offset": offset, "margin": margin}
            _explain_vectors({**vectors, "gamma": per_class}, classes, names)
    if sample_weight is not None:
        check_tensors(sample_weight=sample_weight)
        if sample_weight.shape != samples:
            raise ValueError(
                f"sample_weight must have one entry per sample, {samples}, but got "
                f"shape {tuple(sample_weight.shape)}"
            )
    if normalizer is not None:
        check_normalizer(normalizer, reduction)


def _explain_vectors(
    vectors: Mapping[str, torch.Tensor | None], classes: int, names: Mapping[str, str]
) -> None:
    check_tensors(**vectors)
    for name, vector in vectors.items():
        if vector is not None and vector.shape != (classes,):
            raise ValueError(
                f"{names.get(name, name)} must have one entry per class, but got shape "
                f"{tuple(vector.shape)} for {classes} classes"
            )


def check_normalizer(normalizer: torch.Tensor | float, reduction: str) -> None:
    """Refuse a normalizer by which no mean can be divided."""
    if reduction in ("sum", "none"):
        raise ValueError(
            f"normalizer is what 'mean' and 'batchmean' divide by, but reduction is {reduction!r}; "
            "leave it out, or take reduction='mean'"
        )
    if isinstance(normalizer, torch.Tensor):  # its value may be on a GPU
        if normalizer.numel() != 1:
            raise ValueError(
                f"normalizer must be one number, but got shape {tuple(normalizer.shape)}; give the "
                "sum of the weights"
            )
    elif not isinstance(normalizer, int | float | np.number | torch.SymInt | torch.SymFloat):
        raise TypeError(f"normalizer must be a number or a tensor, but got {normalizer!r}")
    elif not normalizer >= 0:
        raise ValueError(f"normalizer must be a number >= 0, but got {normalizer}")


def _check_target(
    logits: torch.Tensor, target: torch.Tensor, samples: tuple[int, ...], ignore_index: int
) -> None:
    if target.shape == logits.shape and target.is_floating_point():
        if ignore_index >= 0:
            raise ValueError(
                f"ignore_index is for class numbers, but got {ignore_index} with probabilities; "
                "give the samples to leave out a sample_weight of 0"
            )
        return
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(
            f"target must hold class numbers (int64) of shape {samples} or probabilities of the "
            f"logits' shape {tuple(logits.shape)}, but got {target.dtype} of "
            f"{tuple(target.shape)}; make class numbers integers by target.long()"
        )
    if tuple(target.shape) != samples:
        hint = ""
        if target.shape == logits.shape:
            one_hot = "of one-hot numbers take target.float(), or target.argmax(1)"
            hint = f"; {ONE_LOGIT if logits.dim() == 1 else one_hot}"
        raise ValueError(
            f"target must be {samples} for logits {tuple(logits.shape)}, but got "
            f"{tuple(target.shape)}{hint}"
        )


def check_range(
    target: torch.Tensor, classes: int | None, ignore_index: int, error: Exception | None = None
) -> None:
    """Refuse class numbers out of range, where they can be read; None: any that is not negative."""
    if not readable(target):
        return
    numbers = target.long()
    numbers = numbers[numbers != ignore_index]
    low, high = (int(x) for x in numbers.aminmax()) if numbers.numel() else (0, 0)
    if low < 0 or (classes is not None and high >= classes):
        allowed = ">= 0" if classes is None else f"within 0 .. {classes - 1}"
        raise ValueError(
            f"target must be {allowed} (or {ignore_index}, which is ignored), but holds "
            f"{low} .. {high}"
        ) from error


def by_default(vector: torch.Tensor) -> torch.Tensor:
    """Return a vector computed in float64 in the default dtype."""
    return vector.to(torch.get_default_dtype())


def as_vector(name: str, values: Values, least: float = -math.inf) -> torch.Tensor | None:
    """A copy of one finite number per class, as a buffer to be; None stays None."""
    if values is None:
        return None
    vector = torch.as_tensor(values).detach().clone()
    if not vector.is_floating_point():
        vector = by_default(vector)
    if vector.dim() != 1 or not bool((vector.isfinite() & (vector >= least)).all()):
        kind = "finite number" if least == -math.inf else f"finite number >= {least:g}"
        raise ValueError(
            f"{name} must be one {kind} per class, but got shape {tuple(vector.shape)} with "
            f"{vector.flatten()[:4].tolist()}"
        )
    return vector


def as_counts(counts: Counts) -> torch.Tensor:
    """The samples per class in float64; an empty class is given the rarest of the others' count.

    No sample of an empty class can say how rare the class is, and a share of 0 has no logarithm.
    """
    n = count_vector(counts)
    return n.clamp_min(float(n[n > 0].min()))


def count_vector(counts: Counts, name: str = "counts") -> torch.Tensor:
    """The samples per class in float64, on the device where they came from."""
    device = counts.device if isinstance(counts, torch.Tensor) else None
    return torch.from_numpy(read_counts(counts, name)).to(device)
