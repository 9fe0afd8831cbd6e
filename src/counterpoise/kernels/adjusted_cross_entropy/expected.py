"""The loss expected when the target is drawn from probabilities, out of torch's operators.

Probabilities are given, or made of class numbers by label smoothing. `expected.h` is the same in C.
"""

import torch
import torch.nn.functional as F

from counterpoise.kernels.adjusted_cross_entropy._margin import adjusted, along_classes, of_margin
from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters
from counterpoise.kernels.adjusted_cross_entropy._samples import Samples, guarded, harmless


def of_samples(
    logits: torch.Tensor,
    samples: Samples,
    parameters: Parameters,
    reduction: str = "none",
    normalizer: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """As the dispatcher's; see there."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    if normalizer is None:
        normalizer = samples.normalizer(reduction, wide)
    q, weight, smoothing = samples.target, samples.weight, samples.smoothing
    if q.is_floating_point():
        mass = torch.ones_like(logits[:, 0], dtype=wide)
        mass = mass if samples.sample_weight is None else mass * samples.sample_weight
        losses = _expected(
            harmless(logits, mass).to(wide), q.to(wide), weight, smoothing, parameters
        )
    else:
        numbers, mass, _ = samples._replace(weight=None).weighed(wide)
        z = harmless(logits, mass).to(wide)
        if parameters.gamma or parameters.poly or parameters.margin is not None:
            q = torch.zeros_like(z).scatter(1, numbers.unsqueeze(1), 1.0)
            losses = _expected(z, q, weight, smoothing, parameters)
        else:
            losses = _smoothed(z, numbers, smoothing, weight, parameters)
    divisor, nothing = guarded(normalizer)
    losses = losses * (mass / divisor)
    return (losses if reduction == "none" else losses.sum() + nothing).to(logits.dtype)


def _expected(
    logits: torch.Tensor,
    q: torch.Tensor,
    weight: torch.Tensor | None,
    smoothing: float,
    parameters: Parameters,
) -> torch.Tensor:
    """The losses where q (N, C, ...) is drawn from, of which a share is spread over all classes."""
    q = q * (1 - smoothing) + smoothing / q.shape[1]
    if weight is not None:
        q = q * along_classes(weight, q)
    return (q * _of_every_class(logits, parameters)).sum(1)


def _of_every_class(logits: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    """The loss that each class would have as the target: (N, C, ...) to (N, C, ...).

    For the class that is ahead, the others' sum is taken without it: the whole minus it would lose
    all digits.
    """
    a = adjusted(logits, parameters)
    top, place = a.max(1, keepdim=True)
    ahead = torch.zeros_like(a, dtype=torch.bool).scatter(1, place, value=True)
    shifted = (a - top).exp()
    rest = torch.where(ahead, 1.0, shifted.sum(1, keepdim=True) - shifted)
    behind = (a - top).masked_fill(ahead, float("-inf")).logsumexp(1, keepdim=True)
    d = torch.where(ahead, behind, (top - a) + rest.log())
    if parameters.margin is not None:
        d = d + along_classes(parameters.margin, a)
    return of_margin(d, parameters)


def _smoothed(
    logits: torch.Tensor,
    target: torch.Tensor,
    share: float,
    weight: torch.Tensor | None,
    parameters: Parameters,
) -> torch.Tensor:
    """Without gamma, poly and margin: the loss of a class that has a share spread over all.

    As torch's, from softmax's logarithm: no such loss is so small that this would lose digits.
    """
    log_p = F.log_softmax(adjusted(logits, parameters), 1)
    own = log_p.gather(1, target.unsqueeze(1)).squeeze(1)
    if weight is not None:
        log_p, own = log_p * along_classes(weight, log_p), own * weight[target]
    return (share - 1) * own - share * log_p.mean(1)
