"""The whole family of softmax losses for imbalance, as a function and as a module."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Never

import numpy as np
import torch
from torch import nn

from counterpoise.kernels.adjusted_cross_entropy import Arguments, choose, eager
from counterpoise.kernels.dispatch import autocasting
from counterpoise.losses._check import (
    EMPTY,
    Values,
    as_number,
    as_vector,
    check_call,
    check_range,
    check_settings,
    check_tensors,
    refuse_settings,
)

Vector = torch.Tensor | None
HALF = (torch.float16, torch.bfloat16)


def adjusted_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    scale: Vector = None,
    offset: Vector = None,
    margin: Vector = None,
    weight: Vector = None,
    gamma: torch.Tensor | float = 0.0,
    poly: float = 0.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    normalizer: torch.Tensor | float | None = None,
    sample_weight: Vector = None,
) -> torch.Tensor:
    r"""Cross entropy with class-wise scale, offset, margin and weight, focusing γ and poly term.

    .. math::
        a = \text{scale} \cdot \text{logits} + \text{offset}, \qquad
        p_t = \frac{e^{a_t - \text{margin}_t}}{e^{a_t - \text{margin}_t} + \sum_{j \ne t} e^{a_j}}

        \text{loss} = \text{weight}_t \, (1 - p_t)^{\gamma_t} \,
        \bigl(-\log p_t + \text{poly} \, (1 - p_t)\bigr)

    With the defaults it is `torch.nn.functional.cross_entropy`, in every reduction and shape.
    Computed from the log-odds between target and others, so that value and gradient are exact and
    finite for every gamma >= 0, also where p_t rounds to 1. Where a kernel runs (`losses.explain`
    says whether), one pass over the logits, and no memory of their size but the gradient's.

    Class probabilities q as the target, and label smoothing (which makes probabilities of class
    numbers), give the expected loss: the sum over the classes j of q_j times the loss that j would
    have as the target.

    Sources: focal, arXiv 1708.02002; class weights, 1901.05555; offsets, 2007.07314 and 2007.10740;
    margins, 1906.07413; scales, 2001.01385 and 2103.01550; poly, 2204.12511.

    Args:
        logits: (C), (N, C) or (N, C, d1, ...), floating.
        target: class numbers (int64) of the logits' shape without C, or probabilities of the
            logits' shape and a floating dtype.
        scale: (C), what each class's logit is multiplied with.
        offset: (C), what is added to each class's logit.
        margin: (C), what is taken from the logit of the target alone.
        weight: (C), what the samples of a class count.
        gamma: focusing parameter of the focal loss, at least 0: it down-weights easy samples. One
            number, or (C), one per class.
        poly: the first coefficient of PolyLoss, at least -1.
        label_smoothing: within 0 .. 1, the share spread over all classes.
        ignore_index: the class number that says that a sample does not count.
        reduction: "mean" divides by the sum of the samples' weights (torch's rule: their class's
            weight, times sample_weight; for probabilities, sample_weight alone), "batchmean" by
            the number of samples, "sum" by nothing, "none" returns one loss a sample. Where nothing
            counts, mean and batchmean are 0 / 0 = NaN, as in torch: a mean of nothing is no number.
            "sum" is 0 there. The gradient is zeros in either case, as torch's is.
        normalizer: what "mean" and "batchmean" divide by instead, say the sum of the weights of all
            micro-batches or ranks.
        sample_weight: of the target's shape (without C), at least 0.

    Returns:
        A number, or with "none" one per sample; in the logits' dtype. Half precision is computed in
        float32; under autocast the result is float32, as torch's.

    Raises:
        ValueError: shapes that do not match, class numbers out of range (on a CPU; a GPU reports
            them by its own assertion, without waiting), gamma negative, ...: the message says it.
        TypeError: logits that are not floating, class numbers that are not integers.

    Example:
        >>> import torch
        >>> from counterpoise.losses import adjusted_cross_entropy
        >>> logits, target = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
        >>> round(adjusted_cross_entropy(logits, target, gamma=2.0).item(), 4)
        0.0109
    """
    return _loss(
        logits,
        Arguments(
            target,
            weight,
            sample_weight,
            scale,
            offset,
            margin,
            gamma,
            normalizer,
            poly,
            label_smoothing,
            ignore_index,
            reduction,
        ),
    )


class AdjustedCrossEntropyLoss(nn.Module):
    r"""Cross entropy with class-wise scale, offset, margin and weight, focusing γ and poly term.

    .. math::
        a = \text{scale} \cdot \text{logits} + \text{offset}, \qquad
        p_t = \frac{e^{a_t - \text{margin}_t}}{e^{a_t - \text{margin}_t} + \sum_{j \ne t} e^{a_j}}

        \text{loss} = \text{weight}_t \, (1 - p_t)^{\gamma_t} \,
        \bigl(-\log p_t + \text{poly} \, (1 - p_t)\bigr)

    The other softmax losses of this package are this one with parameters computed from the class
    counts; without any parameter it is `torch.nn.CrossEntropyLoss`. The vectors are buffers: they
    move with the module and are in its state_dict, as CrossEntropyLoss's weight is. Vectors
    computed from counts have the default dtype; for the full precision of float64 logits, make that
    float64 (`torch.set_default_dtype`) when the loss is built.

    Sources, arguments, reductions, rules for nothing-counts and errors:
    `counterpoise.losses.adjusted_cross_entropy`, the same as a function.

    Args:
        scale, offset, margin, weight: one number per class, or None.
        gamma: one number, or one per class.
        poly, label_smoothing, ignore_index, reduction: as in the function.

    Shape: logits (C), (N, C) or (N, C, d1, ...); target class numbers without the C, or
    probabilities with it; sample_weight without it. Output a number, or with reduction "none" one
    per sample; in the logits' dtype.

    Raises:
        TypeError: a setting that the loss does not have; the message asks which was meant.
        ValueError: vectors that are not one finite number per class, and what the function refuses.

    Example:
        >>> import torch
        >>> from counterpoise.losses import AdjustedCrossEntropyLoss
        >>> loss = AdjustedCrossEntropyLoss(offset=[0.0, 0.0, -2.0], gamma=1.0)
        >>> loss
        AdjustedCrossEntropyLoss(offset of 3 classes, gamma=1)
        >>> round(loss(torch.zeros(1, 3), torch.tensor([2])).item(), 4)
        2.5838
    """

    scale: torch.Tensor | None
    offset: torch.Tensor | None
    margin: torch.Tensor | None
    weight: torch.Tensor | None
    gamma: torch.Tensor | float
    _names: ClassVar[Mapping[str, str]] = EMPTY  # of a vector: the argument that it was made from

    def __init__(
        self,
        *,
        scale: Values = None,
        offset: Values = None,
        margin: Values = None,
        weight: Values = None,
        gamma: float | torch.Tensor | Sequence[float] = 0.0,
        poly: float = 0.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "mean",
        **unknown: Never,
    ) -> None:
        super().__init__()
        refuse_settings(self, unknown)
        per_class = isinstance(gamma, Sequence | torch.Tensor | np.ndarray) and np.ndim(gamma) > 0
        check_settings(0.0 if per_class else gamma, poly, label_smoothing, reduction)
        vectors = {"scale": scale, "offset": offset, "margin": margin, "weight": weight}
        buffers = {name: as_vector(name, v) for name, v in vectors.items()}
        if per_class:
            buffers["gamma"] = as_vector("gamma", gamma, least=0)
        else:
            self.gamma = as_number("gamma", gamma, 0)
        # The empty ones last: torch.export counts them among the graph's inputs (2.13).
        for name in sorted(buffers, key=lambda name: buffers[name] is None):
            self.register_buffer(name, buffers[name])
        self.poly = float(poly)
        self.label_smoothing = float(label_smoothing)
        self.ignore_index, self.reduction = ignore_index, reduction

    def extra_repr(self) -> str:
        """Return the parameters that differ from plain cross entropy's, for print(loss)."""
        shown = [f"{name} of {len(v)} classes" for name, v in self.named_buffers(recurse=False)]
        numbers = ("poly", "label_smoothing")
        numbers = numbers if isinstance(self.gamma, torch.Tensor) else ("gamma", *numbers)
        shown += [f"{n}={getattr(self, n):g}" for n in numbers if getattr(self, n)]
        others = {"ignore_index": -100, "reduction": "mean"}
        shown += [f"{n}={getattr(self, n)!r}" for n, d in others.items() if getattr(self, n) != d]
        return ", ".join(shown)

    def forward(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        sample_weight: torch.Tensor | None = None,
        normalizer: torch.Tensor | float | None = None,
    ) -> torch.Tensor:
        """Return the reduced loss; see `adjusted_cross_entropy`."""
        return _loss(logits, self._arguments(target, sample_weight, normalizer), self._names)

    def normalizer(
        self, target: torch.Tensor, sample_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the denominator of this loss on a batch with these targets: a number.

        A mean over micro-batches or ranks is their sums over the sum of their normalizers, not the
        mean of their means. Add these up (and all-reduce the sum), and hand it to every call:

        >>> import torch
        >>> from counterpoise.losses import FocalLoss
        >>> loss, logits = FocalLoss(alpha=[1.0, 9.0]), torch.tensor([[1.0, 0.0], [0.5, 0.0]])
        >>> target = torch.tensor([0, 1])
        >>> total = loss.normalizer(target)
        >>> parts = [loss(logits[i:i+1], target[i:i+1], normalizer=total) for i in range(2)]
        >>> bool(torch.isclose(sum(parts), loss(logits, target)))
        True

        Class numbers out of range are refused as by the loss itself; without a vector, the loss
        does not know the number of classes, and refuses negative ones only.
        """
        check_tensors(target=target, sample_weight=sample_weight)
        if not target.is_floating_point():
            classes = next((len(v) for v in self.buffers(recurse=False)), None)
            check_range(target, classes, self.ignore_index)
        elif target.dim() == 1:
            target = target.unsqueeze(0)
        dtype = torch.float32
        for x in (self.weight, sample_weight):
            dtype = dtype if x is None else torch.promote_types(dtype, x.dtype)
        by = "batchmean" if self.reduction == "batchmean" else "mean"
        found = eager.denominator(self._arguments(target, sample_weight), by, dtype)
        return torch.as_tensor(found)

    def _arguments(
        self,
        target: torch.Tensor,
        sample_weight: torch.Tensor | None,
        normalizer: torch.Tensor | float | None = None,
    ) -> Arguments:
        held = {**self._parameters, **self._buffers}  # self.weight takes a microsecond
        return Arguments(
            target,
            held["weight"],
            sample_weight,
            held["scale"],
            held["offset"],
            held["margin"],
            self.gamma,
            normalizer,
            self.poly,
            self.label_smoothing,
            self.ignore_index,
            self.reduction,
        )


def explain(
    loss: AdjustedCrossEntropyLoss,
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    sample_weight: torch.Tensor | None = None,
) -> str:
    """Say in one line which implementation computes `loss` of these tensors, and why.

    Args:
        loss: an AdjustedCrossEntropyLoss, as all softmax losses of this package are.
        logits: what would be given to it, as the rest; nothing is computed.
        target: the same.
        sample_weight: the same.

    Raises:
        TypeError: another loss.

    Example:
        >>> import torch
        >>> from counterpoise.losses import FocalLoss, explain
        >>> explain(FocalLoss(), torch.zeros(2, 3, dtype=torch.float16), torch.tensor([0, 1]))
        'eager: the kernel in C is not for torch.float16'
    """
    if not isinstance(loss, AdjustedCrossEntropyLoss):
        kind = f"{type(loss).__module__}.{type(loss).__name__}"
        raise TypeError(f"explain knows the softmax losses of this package, but got {kind}")
    implementation, reason = choose(
        *_ready(logits, loss._arguments(target, sample_weight), loss._names)
    )
    return f"{implementation.__module__.rpartition('.')[2]}: {reason}"


def _loss(
    logits: torch.Tensor, arguments: Arguments, names: Mapping[str, str] = EMPTY
) -> torch.Tensor:
    logits, arguments = _ready(logits, arguments, names)
    implementation, _ = choose(logits, arguments)
    try:
        return implementation(logits, arguments)
    except (IndexError, RuntimeError) as error:
        if not arguments.target.is_floating_point():
            check_range(arguments.target, logits.shape[1], arguments.ignore_index, error)
        raise


def _ready(
    logits: torch.Tensor, arguments: Arguments, names: Mapping[str, str]
) -> tuple[torch.Tensor, Arguments]:
    """Check them, and return them as the kernels take them: (N, C, ...), vectors in one dtype."""
    check_call(logits, arguments, names)
    changed: dict[str, Any] = {}
    if logits.dim() == 1:
        logits = logits.unsqueeze(0)
        changed["target"] = arguments.target.unsqueeze(0)
        if arguments.sample_weight is not None:
            changed["sample_weight"] = arguments.sample_weight.unsqueeze(0)
        if arguments.reduction == "none":  # of one sample: its loss
            changed["reduction"] = "sum"
    half = logits.dtype in HALF
    if half and autocasting(logits):
        logits = logits.float()
    wide = torch.float32 if half else logits.dtype
    gamma, normalizer = arguments.gamma, arguments.normalizer
    per_class = gamma if isinstance(gamma, torch.Tensor) and gamma.dim() else None
    if per_class is None and type(gamma) is not float:
        changed["gamma"] = float(gamma)
    vectors = (arguments.weight, arguments.scale, arguments.offset, arguments.margin, per_class)
    for name, v in zip(("weight", "scale", "offset", "margin", "gamma"), vectors, strict=True):
        if v is not None and (v.dtype != wide or v.device != logits.device):
            changed[name] = v.to(logits.device, wide)
    if isinstance(normalizer, np.number):
        changed["normalizer"] = normalizer.item()
    elif normalizer is not None and isinstance(normalizer, torch.Tensor) and normalizer.dim():
        changed["normalizer"] = normalizer.reshape(())
    return logits, arguments._replace(**changed) if changed else arguments
