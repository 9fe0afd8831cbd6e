"""A sentence, its code and its evidence."""

from collections.abc import Mapping
from dataclasses import dataclass

Evidence = dict[str, float | int | str]


@dataclass(frozen=True)
class Finding:
    """One sentence or two, and the numbers in it.

    Attributes:
        code: what it is about, see the table at the top of `findings`.
        text: plain English.
        evidence: every number in `text`, rounded as it is there, and the names it speaks of.
    """

    code: str
    text: str
    evidence: Evidence

    def __str__(self) -> str:
        """Return code and text in one line."""
        return f"{self.code}  {self.text}"


def sentence(code: str, template: str, evidence: Mapping[str, float | int | str]) -> Finding:
    """Fill a template from its evidence alone, so that no number comes from elsewhere."""
    return Finding(code, template.format(**evidence), dict(evidence))


def percent(share: float) -> float:
    """Return percent with one decimal, and never -0.0."""
    return round(100.0 * float(share), 1) + 0.0


def shown(value: float) -> str:
    """Write a number of any size with two significant digits."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.2g}'):,g}"
    return f"{value:.1e}"


def one_seed(code: str, what: str) -> Finding:
    """Return the reservation that goes with every comparison."""
    template = (
        "Each of these {what} ran with one seed; a single run cannot separate a difference from "
        "the noise between seeds."
    )
    return sentence(code, template, {"what": what})
