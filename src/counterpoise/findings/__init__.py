"""The findings about a study: sentences that say no more than its numbers do.

`collect_findings` runs all checks over a study. `CODES` is the table of all codes (CP1xx: the data,
CP2xx: learning, CP3xx: variants, CP4xx: the study's folder); docs/findings.md says of each what it
means, how it is computed, what to do and when it is wrong.

A sentence is a template, and every number in it comes from `evidence`, already rounded
(finding.py). Intervals are over the study's seeds; see `counterpoise.stats`.
"""

from counterpoise.findings._codes import CODES
from counterpoise.findings._collect import ALL_CHECKS, collect_findings
from counterpoise.findings._references import IGNORANT
from counterpoise.findings.finding import Finding

__all__ = ["ALL_CHECKS", "CODES", "IGNORANT", "Finding", "collect_findings"]
