"""Statistics for few seeds: intervals, paired comparisons, verdicts, and the seeds still needed.

Runs are paired: a seed fixes the split, the order of the samples and the initial weights, the same
for every variant, so that differences within each seed are compared. Where each seed draws a test
split of its own, `test_to_train` corrects what follows from these differences.

    verdicts = stats.compare_variants(scores, baseline="cross_entropy")   # scores[variant][seed]
    for verdict in verdicts:
        print(verdict.variant, verdict.words, verdict.interval)

`compare_variants` combines `compare_paired`, `holm` and `seeds_needed`; `t_interval` and `wilson`
describe one variant, and `noise_sources` and `two_way_bootstrap` estimate the share of the finite
test set in a difference. The rules of the verdict, their calibration and their limits:
docs/statistics.md.

Inputs and results are numbers, without torch. Unknown values are None, never NaN or infinity, so
that every result can be written as JSON.
"""

from counterpoise.stats._collapse import collapsed, guessing_noise
from counterpoise.stats._compare_variants import compare_variants
from counterpoise.stats._comparison import Comparison, compare_paired, compare_unpaired
from counterpoise.stats._holm import holm
from counterpoise.stats._interval import Interval, t_interval, wilson
from counterpoise.stats._looks import MOST_LOOKED_AT, Looks
from counterpoise.stats._noise_sources import NoiseSources, noise_sources
from counterpoise.stats._seeds import (
    MAX_SEEDS,
    MIN_SEEDS,
    seeds_can_tell,
    seeds_needed,
    seeds_range,
)
from counterpoise.stats._two_way import draw_seeds, two_way_bootstrap
from counterpoise.stats._verdict import NEITHER_LEARNED, ONE_NUMBER, UNEVEN, Verdict

__all__ = [
    "MAX_SEEDS",
    "MIN_SEEDS",
    "MOST_LOOKED_AT",
    "NEITHER_LEARNED",
    "ONE_NUMBER",
    "UNEVEN",
    "Comparison",
    "Interval",
    "Looks",
    "NoiseSources",
    "Verdict",
    "collapsed",
    "compare_paired",
    "compare_unpaired",
    "compare_variants",
    "draw_seeds",
    "guessing_noise",
    "holm",
    "noise_sources",
    "seeds_can_tell",
    "seeds_needed",
    "seeds_range",
    "t_interval",
    "two_way_bootstrap",
    "wilson",
]
