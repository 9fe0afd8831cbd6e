"""A finding: a code, a sentence, and the evidence in it; and how one is written.

found = sentence("CP101", "{small} classes have too few samples.", {"small": 2})
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from counterpoise.findings._codes import CODES
from counterpoise.text import listed as listed

Evidence = dict[str, float | int | str]

ONE_SEED = (
    "Each of these {what} ran with one seed; a single run cannot separate a difference from the "
    "noise between seeds."
)


@dataclass(frozen=True)
class Finding:
    """One sentence or two, and the numbers in it.

    Attributes:
        code: its subject, such as "CP101".
        severity: problem, caution, note or result.
        title: the code's subject in a few words.
        text: plain English.
        evidence: every number in `text`, rounded as it is there, and the names it speaks of.
    """

    code: str
    severity: str
    title: str
    text: str
    evidence: Evidence

    @property
    def docs(self) -> str:
        """The section of the project's docs on the code, from its `CODES`."""
        return f"findings.md#{self.code.lower()}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for `json.dumps`."""
        return {**asdict(self), "docs": self.docs}

    def __str__(self) -> str:
        """Return code and text in one line."""
        return f"{self.code}  {self.text}"


def sentence(
    code: str,
    template: str,
    evidence: Mapping[str, float | int | str],
) -> Finding:
    """Fill a template from its evidence alone, so that no number comes from elsewhere.

    Args:
        code: a key of `CODES`.
        template: the text, with names of the evidence in braces.
        evidence: the numbers, rounded as they are to be shown, and names.

    Example:
        >>> from counterpoise.findings.finding import sentence
        >>> print(sentence("CP101", "{small} classes are small.", {"small": 2}))
        CP101  2 classes are small.
    """
    about = CODES[code]
    return Finding(code, about.severity, about.title, template.format(**evidence), dict(evidence))


def percent(share: float) -> float:
    """Return percent with one decimal, and never -0.0.

    Example:
        >>> percent(0.1234), percent(-0.0001)
        (12.3, 0.0)
    """
    return round(100.0 * float(share), 1) + 0.0


def shown(value: float) -> str:
    """Write a number of any size with two significant digits.

    Example:
        >>> shown(12_345), shown(0.0123), shown(3.14e-12)
        ('12,000', '0.012', '3.1e-12')
    """
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.2g}'):,g}"
    return f"{value:.1e}"
