"""The findings about a study: sentences that say no more than its numbers do.

`collect_findings` runs all checks over a study. `CODES` says of every code what it means, how it is
computed, what to do and when it is wrong; it is read from codes.toml, from which docs/findings.md
is written, and `counterpoise explain` prints it.

`paragraphs` puts equal findings about several variants into one sentence, as pages and terminals
show them. A sentence is a template, and every number in it comes from `evidence`, already rounded
(finding.py). Intervals are over the study's seeds; see `counterpoise.stats`.
"""

from counterpoise.findings._answers import (
    Answers,
    adjusted_to_use,
    answers,
    best_and_reason,
    best_variant,
    reference_to_use,
)
from counterpoise.findings._codes import CODES, Code
from counterpoise.findings._collect import ALL_CHECKS, collect_findings
from counterpoise.findings._paragraphs import Paragraph, paragraphs
from counterpoise.findings._references import IGNORANT, noun
from counterpoise.findings.finding import Finding

__all__ = [
    "ALL_CHECKS",
    "CODES",
    "IGNORANT",
    "Answers",
    "Code",
    "Finding",
    "Paragraph",
    "adjusted_to_use",
    "answers",
    "best_and_reason",
    "best_variant",
    "collect_findings",
    "noun",
    "paragraphs",
    "reference_to_use",
]
