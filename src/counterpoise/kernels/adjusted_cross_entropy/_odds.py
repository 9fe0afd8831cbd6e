"""A sample's chances out of operators as wide as its logits: what rounding took is put back.

gamma multiplies the relative error of 1 - p_t, and float64 has nothing wider. So every difference,
product and quotient on the way keeps its rest (Dekker 1971), and so does the sum.
"""

from typing import NamedTuple

import torch

HALVES = {torch.float64: 2.0**27 + 1, torch.float32: 2.0**12 + 1}


class Odds(NamedTuple):
    """Of each sample: sum of the others' exponentials, -log(p_t), 1 - p_t, p_t.

    `rest` is the relative error of 1 - p_t, which in truth is miss * (1 + rest).
    """

    total: torch.Tensor
    loss: torch.Tensor
    miss: torch.Tensor
    hit: torch.Tensor
    rest: torch.Tensor | None = None


def power_of(odds: Odds, gamma: float) -> torch.Tensor:
    """(1 - p_t)^gamma; not by exp(gamma * log), which multiplies the logarithm's rounding error."""
    power = odds.miss**gamma
    return power if odds.rest is None else power + power * (gamma * odds.rest)


def ahead_of(
    top: torch.Tensor, a_t: torch.Tensor, margin: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """top - a_t + margin in float64, if the device has it, and its rest."""
    exact = torch.float32 if top.device.type == "mps" else torch.float64
    d, rest = _difference(top.to(exact), a_t.to(exact))
    if margin is None:
        return d, rest
    d, more = _difference(d, -margin.to(exact))
    return d, rest + more


def exponentials(a: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """exp(a - top), in float64 without the rounding of the difference."""
    if a.dtype != torch.float64:
        return (a - top).exp()
    d, rest = _difference(a, top)
    e = d.exp()
    return e + e * rest


def summed(e: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of exponentials of at most 1 over the classes, and in float64 its rest.

    Their upper halves are multiples of 2^-26, whose sum is exact.
    """
    if e.dtype != torch.float64:
        total = e.sum(1, keepdim=True)
        return total, torch.zeros_like(total)
    upper = (e + 1.5 * 2.0**26) - 1.5 * 2.0**26
    high, low = upper.sum(1, keepdim=True), (e - upper).sum(1, keepdim=True)
    total = high + low
    return total, (high - total) + low


def odds_of(
    ahead: torch.Tensor, rest: torch.Tensor, total: torch.Tensor, rest_of_total: torch.Tensor
) -> Odds:
    """Out of r = (total + its rest) * exp(ahead + its rest), or of 1/r, where r would overflow."""
    behind = ahead > 0
    x = torch.exp(-ahead.abs())
    r = torch.where(behind, x / total, x * total)  # or 1/r
    error = torch.where(behind, _rest(x, r, total) / x, -_rest(r, x, total) / r)
    error = error + (-ahead.abs() - x.log())  # exp's own last digit
    error = error + torch.where(behind, -1.0, 1.0) * (rest + rest_of_total / total)
    error = torch.where(error.isfinite(), error, 0.0)
    both = 1 + r
    rest_of_both = torch.where(r > 1, 1 - (both - r), r - (both - 1))
    over, under = torch.where(behind, 1.0, r), torch.where(behind, r, 1.0)
    miss, hit = over / both, under / both
    error_of_miss = _rest(over, miss, both) / over - rest_of_both / both
    error_of_miss = error_of_miss + torch.where(behind, -error, error) * hit
    loss = torch.log1p(r) + r / both * error
    loss = loss + torch.where(behind, ahead + rest + total.log() + rest_of_total / total, 0.0)
    return Odds(total, loss, miss, hit, torch.where(error_of_miss.isfinite(), error_of_miss, 0.0))


def _difference(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """a - b, and its rest (Knuth's two-sum); none where they are not finite."""
    difference = a - b
    a, b, d = a.detach(), b.detach(), difference.detach()
    back = d - a
    rest = (a - (d - back)) - (b + back)
    return difference, torch.where(rest.isfinite(), rest, 0.0)


def _rest(whole: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """whole - a * b, exactly: of the halves of each factor, all products are exact."""
    product = a * b
    (a, a_), (b, b_) = _halves(a), _halves(b)
    return (whole - product) - (((a * b - product) + a * b_ + a_ * b) + a_ * b_)


def _halves(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scaled = HALVES[a.dtype] * a
    high = scaled - (scaled - a)
    return high, a - high
