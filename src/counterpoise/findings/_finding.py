"""A sentence, its code and its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from counterpoise.findings._codes import CODES

Evidence = dict[str, float | int | str]


@dataclass(frozen=True)
class Finding:
    """One sentence or two, and the numbers in it.

    Attributes:
        code: what it is about, see `findings.CODES`.
        text: plain English.
        evidence: every number in `text`, rounded as it is there, and the names it speaks of.
    """

    code: str
    text: str
    evidence: Evidence

    @property
    def severity(self) -> str:
        """Problem, caution, note or result: the code's."""
        return CODES[self.code][0]

    @property
    def title(self) -> str:
        """What the code is about, in a few words."""
        return CODES[self.code][1]

    @property
    def docs(self) -> str:
        """Where it stands what the code means and what to do, in the project's docs."""
        return f"findings.md#{self.code.lower()}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for `json.dumps`."""
        more = {"severity": self.severity, "title": self.title, "docs": self.docs}
        return {**asdict(self), **more}

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


def listed(names: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """Write names out, and how many more there are."""
    more = len(names) - most
    return between.join(names[:most]) + (f" and {more} more" if more > 0 else "")


def one_seed(code: str, what: str) -> Finding:
    """Return the reservation that goes with every comparison."""
    template = (
        "Each of these {what} ran with one seed; a single run cannot separate a difference from "
        "the noise between seeds."
    )
    return sentence(code, template, {"what": what})
