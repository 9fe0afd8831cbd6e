"""The whole family of softmax losses for imbalance, as a function."""

import numpy as np
import torch

from counterpoise.kernels._eager import autocasting
from counterpoise.kernels.adjusted_cross_entropy import Parameters, Samples
from counterpoise.kernels.adjusted_cross_entropy import adjusted_cross_entropy as kernel
from counterpoise.losses._check import check_call, check_range, check_settings

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
    gamma: float = 0.0,
    poly: float = 0.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    normalizer: torch.Tensor | float | None = None,
    sample_weight: Vector = None,
) -> torch.Tensor:
    r"""Cross entropy with class-wise scale, offset, margin and weight, focusing γ and poly term.

        a = scale * logits + offset
        p_t = exp(a_t - margin_t) / (exp(a_t - margin_t) + sum of exp(a_j) over j != t)
        loss = weight_t * (1 - p_t)^gamma * (-log(p_t) + poly * (1 - p_t))

    With the defaults it is `torch.nn.functional.cross_entropy`, in every reduction and shape.
    Computed from the margin between target and others, so that value and gradient are exact and
    finite for every gamma >= 0, also where p_t rounds to 1. For class numbers, one pass over the
    logits, and no memory of their size but the gradient's.

    Probabilities q as the target, and label smoothing (which makes probabilities of class numbers),
    give the sum over the classes j of q_j times the loss that j would have as the target: on a CPU
    in one pass, too. On a GPU, or without a C compiler, or with a margin, that takes 6 to 25 times
    as long, and about ten times the logits in memory.

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
        gamma: focusing parameter of the focal loss, at least 0: it down-weights easy samples.
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
    if isinstance(normalizer, np.number):
        normalizer = normalizer.item()
    elif isinstance(normalizer, torch.Tensor) and normalizer.numel() == 1:
        normalizer = normalizer.reshape(())
    vectors = {"scale": scale, "offset": offset, "margin": margin, "weight": weight}
    check_settings(gamma, poly, label_smoothing, reduction)
    check_call(logits, target, sample_weight, ignore_index, vectors, reduction, normalizer)
    if logits.dim() == 1:
        logits, target = logits.unsqueeze(0), target.unsqueeze(0)
        sample_weight = None if sample_weight is None else sample_weight.unsqueeze(0)
        reduction = "sum" if reduction == "none" else reduction  # of one sample: its loss
    if logits.dtype in HALF and autocasting(logits):
        logits = logits.float()
    wide = torch.float32 if logits.dtype in HALF else logits.dtype
    for name, v in vectors.items():
        if v is not None and (v.dtype != wide or v.device != logits.device):
            vectors[name] = v.to(logits.device, wide)
    scale, offset, margin, weight = vectors.values()
    parameters = Parameters(scale, offset, margin, float(gamma), float(poly))
    samples = Samples(target, ignore_index, weight, sample_weight, float(label_smoothing))
    try:
        return kernel(logits, samples, parameters, reduction, normalizer)
    except (IndexError, RuntimeError) as error:
        if not target.is_floating_point():
            check_range(target, logits.shape[1], ignore_index, error)
        raise
