"""Statistics for few seeds: intervals, paired comparisons, verdicts, and the seeds still needed.

Runs are paired: a seed fixes the split, the order of the samples and the initial weights for every
variant alike, so that what is compared is the difference within each seed.

    verdicts = stats.judge(scores, baseline="cross_entropy")   # scores[variant][seed]
    for verdict in verdicts:
        print(verdict.variant, verdict.words, verdict.interval)

`judge` is the whole of it; `compare_paired`, `holm` and `seeds_needed` are its parts, `t_interval`
and `wilson` describe one variant, and `noise_sources` and `two_way_bootstrap` tell how much of a
difference the finite test set alone could make. How the verdict is made, how well the rules are
calibrated and what they cannot do: docs/statistics.md.

It works on numbers and needs no torch; every result holds plain Python numbers. What is unknown is
None, never NaN or infinity, so that it goes into JSON.
"""

from counterpoise.stats._collapse import collapsed, guessing_noise
from counterpoise.stats._holm import holm
from counterpoise.stats._interval import Interval, t_interval, wilson
from counterpoise.stats._judge import judge
from counterpoise.stats._noise_sources import NoiseSources, noise_sources
from counterpoise.stats._paired import PairedComparison, compare_paired
from counterpoise.stats._seeds import MAX_SEEDS, MIN_SEEDS, seeds_needed
from counterpoise.stats._two_way import two_way_bootstrap
from counterpoise.stats._verdict import NEITHER_LEARNED, Verdict

__all__ = [
    "MAX_SEEDS",
    "MIN_SEEDS",
    "NEITHER_LEARNED",
    "Interval",
    "NoiseSources",
    "PairedComparison",
    "Verdict",
    "collapsed",
    "compare_paired",
    "guessing_noise",
    "holm",
    "judge",
    "noise_sources",
    "seeds_needed",
    "t_interval",
    "two_way_bootstrap",
    "wilson",
]
