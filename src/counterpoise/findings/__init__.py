"""What a study's numbers say, in sentences that say no more than that.

`judge` goes through all checks over a study. `compare_losses`, `explain_alpha` and `explain_norms`
tell of single runs, as the exercise sheet has them. `CODES` is the table of all codes (CP1xx: the
data, CP2xx: learning, CP3xx: variants), and docs/findings.md says of each what it means, how it is
computed, what to do and when it is wrong.

A sentence is a template, and every number in it comes from `evidence`, already rounded.

Noise, in what is said of single runs, means: two standard errors of the difference, from the finite
number of test images. Both models see the same images, which makes the true noise smaller rather
than larger; noise between seeds comes on top and one run of each cannot show it, so a sentence says
that every time. In what is said of a study, intervals are over its seeds; see `counterpoise.stats`.
"""

from counterpoise.findings._codes import CODES
from counterpoise.findings._finding import Finding
from counterpoise.findings._judge import ALL_CHECKS, judge
from counterpoise.findings._losses import compare_losses
from counterpoise.findings._networks import explain_norms
from counterpoise.findings._scale import explain_alpha

__all__ = [
    "ALL_CHECKS",
    "CODES",
    "Finding",
    "compare_losses",
    "explain_alpha",
    "explain_norms",
    "judge",
]
