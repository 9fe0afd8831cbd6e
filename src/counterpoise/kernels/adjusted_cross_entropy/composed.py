"""The family out of torch's operators, which differentiate, compile and vectorize by themselves."""

import torch

from counterpoise.kernels.adjusted_cross_entropy import expected
from counterpoise.kernels.adjusted_cross_entropy._margin import adjusted, of_margin
from counterpoise.kernels.adjusted_cross_entropy._odds import (
    ahead_of,
    exponentials,
    odds_of,
    summed,
)
from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters
from counterpoise.kernels.adjusted_cross_entropy._samples import (
    MEANS,
    Samples,
    guarded,
    harmless,
)


def of_samples(
    logits: torch.Tensor,
    samples: Samples,
    parameters: Parameters,
    reduction: str = "none",
    normalizer: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """As the dispatcher's; see there."""
    if samples.spread:
        return expected.of_samples(logits, samples, parameters, reduction, normalizer)
    numbers, mass, counted = samples.weighed(torch.promote_types(logits.dtype, torch.float32))
    if normalizer is None and reduction in MEANS:
        normalizer = (mass if reduction == "mean" else counted).sum()
    losses = of_class(harmless(logits, mass).to(mass.dtype), numbers, parameters)
    divisor, nothing = guarded(normalizer)
    losses = losses * (mass / divisor)
    return (losses if reduction == "none" else losses.sum() + nothing).to(logits.dtype)


def of_class(logits: torch.Tensor, target: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    """The loss of each sample for its class: logits (N, C, ...), target (N, ...)."""
    place = target.unsqueeze(1)
    a = adjusted(logits, parameters)
    others = a.scatter(1, place, float("-inf"))
    top = others.detach().amax(1, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
    total, rest_of_total = summed(exponentials(others, top))
    a_t = a.gather(1, place)
    alone = (total == 0) & a_t.isfinite()  # no other class, or none that is possible
    total = torch.where(alone, 1.0, total)
    ahead, rest = ahead_of(
        top, a_t, None if parameters.margin is None else parameters.margin[place]
    )
    parts = (x.detach() for x in (ahead, rest, total, rest_of_total))
    exact = odds_of(*parts) if a.dtype == torch.float64 else None
    d = torch.where(alone, -torch.inf, ahead + total.to(ahead.dtype).log())
    d = d * torch.where(a.detach().amax(1, keepdim=True).isinf(), float("nan"), 1.0)  # as softmax
    return of_margin(d, parameters, exact).squeeze(1)
