"""Verdicts: every variant against the baseline."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from counterpoise.stats._collapse import collapsed
from counterpoise.stats._comparison import (
    Comparison,
    Scores,
    common_seeds,
    compare_paired,
    compare_unpaired,
    has_score,
    standard_error,
)
from counterpoise.stats._decide import Decision, decide
from counterpoise.stats._interval import (
    Floats,
    Interval,
    check_confidence,
    check_margin,
    check_test_to_train,
)
from counterpoise.stats._looks import Looks
from counterpoise.stats._seeds import MIN_SEEDS, seeds_can_tell, seeds_needed, seeds_range
from counterpoise.stats._verdict import NEITHER_LEARNED, ONE_NUMBER, Verdict, Word

APART = 5.0  # times as far from the next run as all others reach, or margins


def compare_variants(
    scores: Mapping[str, Scores],
    baseline: str,
    *,
    margin: float = 0.01,
    confidence: float = 0.95,
    chance: float | None = None,
    noise_sd: float | None = None,
    higher_is_better: bool = True,
    test_to_train: float = 0.0,
    unit: str = "%",
    paired: bool | None = True,
    looks: Looks | None = None,
) -> list[Verdict]:
    """Compare every variant with the baseline, over paired seeds, and return the verdicts.

    With m variants besides the baseline, p adjusted by Holm, and I the paired t interval of
    confidence 1 - (1 - confidence) / m:

        no difference that matters   if I lies inside ± margin
        better, worse                else if p_holm <= 1 - confidence
        cannot tell yet              else

    All but the last are claims, and those of a study hold together in about 95% of studies.
    Where Holm settles a sign that I alone does not, I ends at 0, so that the two never contradict
    each other. Equivalence requires the whole 95% interval inside the margin, not the 90% interval
    of the customary test, and so errs in at most 2.5%. A difference with a settled sign inside the
    margin does not matter; `direction` is its sign. Where neither learned in any seed, the verdict
    is "cannot tell yet".

    Below five seeds the assumption of a normal distribution cannot be checked: the verdict is then
    better or worse only if all of I is beyond the margin. From two seeds there is none. (Where one
    run in five collapses, both runs of one variant do in 4% of studies.)

    Args:
        scores: Score by variant and seed. None, NaN or infinity is no score: the pair is left out
            and reported in `missing`.
        baseline: One of the variants.
        margin: The smallest difference that matters, in units of the metric: 0.01 is one point.
        confidence: Of all the claims of a study together.
        chance: Expected score of a guess, to report the runs that did not learn; they stay in the
            intervals. Only where higher is better.
        noise_sd: Standard deviation of that score, from `guessing_noise`; None for 0.
        higher_is_better: False for losses and errors.
        test_to_train: Test samples a training sample where each seed draws its own test split, by
            which intervals are corrected as in `compare_paired`; 0 where all seeds share one.
        unit: How differences are shown: "%" in percentage points, else as they are, with it.
        paired: True to compare seed by seed, on the seeds that both have; False by Welch's t test,
            as if no seed were in common; None for seed by seed where at least half of the seeds of
            the variant that has fewer are in common, and else by Welch's.
        looks: The rule for verdicts that are read while seeds are added, under which all claims at
            all looks hold together in about 95% of studies; None for a number of seeds that was
            fixed beforehand.

    Returns:
        A verdict for every other variant, in the given order.

    Raises:
        ValueError: If the baseline is not among the variants, margin, confidence or test_to_train
            is out of its range, test_to_train is given for what is not paired, or there are more
            seeds than `looks` allows for.

    Example:
        >>> scores = {
        ...     "plain": {0: 0.71, 1: 0.74, 2: 0.70, 3: 0.73, 4: 0.72},
        ...     "focal": {0: 0.72, 1: 0.73, 2: 0.71, 3: 0.73, 4: 0.70},
        ...     "adjusted": {0: 0.78, 1: 0.80, 2: 0.76, 3: 0.78, 4: 0.79},
        ... }
        >>> for verdict in compare_variants(scores, "plain"):
        ...     print(verdict.variant, "|", verdict.words)
        focal | cannot tell yet: about 34 seeds would
        adjusted | better, by at least the margin
    """
    check_margin(margin)
    check_confidence(confidence)
    check_test_to_train(test_to_train)
    if baseline not in scores:
        raise ValueError(
            f"compare_variants needs the baseline among the variants, but got {baseline!r} and "
            f"{list(scores)}; name one of them"
        )
    if test_to_train and paired is not True:
        raise ValueError(
            "compare_variants corrects paired differences alone for test splits that overlap, but "
            f"got test_to_train = {test_to_train} and paired = {paired}; give paired=True"
        )
    before = scores[baseline]
    others = {name: by_seed for name, by_seed in scores.items() if name != baseline}

    def compare(by_seed: Scores) -> Comparison | None:
        if _is_paired(before, by_seed) if paired is None else paired:
            return (
                compare_paired(
                    before,
                    by_seed,
                    margin=margin,
                    confidence=confidence,
                    higher_is_better=higher_is_better,
                    test_to_train=test_to_train,
                )
                if common_seeds(before, by_seed)
                else None
            )
        both = _scored(before) and _scored(by_seed)
        about = {"margin": margin, "confidence": confidence}
        return compare_unpaired(before, by_seed, **about) if both else None

    pairs = {name: compare(by_seed) for name, by_seed in others.items()}
    most = max((pair.n for pair in pairs.values() if pair), default=0)
    if looks and most > looks.last:
        raise ValueError(
            f"looks must allow for all seeds, but got {most} seeds and looks up to {looks.last}; "
            "more may be planned only before the first look"
        )
    found = decide(*_columns(pairs.values(), test_to_train), margin, confidence, looks)
    decisions = zip(*found, strict=True)
    level = (1 - confidence) / max(len(others), 1)
    lost = {name: _collapsed(by_seed, chance, noise_sd) for name, by_seed in scores.items()}
    idle = {name for name in scores if set(lost[name]) >= set(_scored(scores[name]))}
    return [
        Verdict(
            variant=name,
            baseline=baseline,
            **_answer(
                pair,
                Decision(*row),
                1 - (looks.nominal(level) if looks else level),
                higher_is_better,
                {name, baseline} <= idle,
                bool(lost[name] or lost[baseline])
                or any(_stands_apart(scores[x], margin) for x in (name, baseline)),
                test_to_train,
            ),
            confidence=1 - level,
            collapsed=lost[name],
            baseline_collapsed=lost[baseline],
            missing=_missing(others[name]),
            baseline_missing=_missing(before),
            unit=unit,
        )
        for (name, pair), row in zip(pairs.items(), decisions, strict=True)
    ]


def _answer(
    pair: Comparison | None,
    found: Decision,
    level: float,
    higher_is_better: bool,
    neither_learned: bool,
    uneven: bool,
    test_to_train: float,
) -> dict[str, Any]:
    """Return the fields of a verdict that follow from the numbers."""
    word, reason = _word(pair, found, higher_is_better)
    if pair is not None and pair.n > 1 and pair.sd is None:
        reason = ONE_NUMBER
    if pair is not None and neither_learned:
        word, reason = "cannot tell yet", NEITHER_LEARNED
    fields = {"verdict": word, "reason": reason, "comparison": pair}
    if pair is None or pair.sd is None:
        interval = pair.difference if pair else None
        unknown = {"p_holm": None, "direction": 0, "by_margin": False, "seeds_needed": None}
        return fields | unknown | {"interval": interval}
    open_ = word == "cannot tell yet" and reason != NEITHER_LEARNED
    about = {"margin": pair.margin, "confidence": level, "test_to_train": test_to_train}
    pilot = pair.n, pair.difference.estimate, pair.sd
    few = open_ and 2 < pair.n < MIN_SEEDS
    return fields | {
        "interval": Interval(float(found.low), pair.difference.estimate, float(found.high)),
        "p_holm": float(found.p_holm),
        "direction": int(found.direction),
        "by_margin": bool(found.by_margin),
        "seeds_needed": seeds_needed(*pilot, **about) if open_ and not uneven else None,
        "seeds_range": seeds_range(*pilot, **about) if few and not uneven else None,
        "seeds_can_tell": not open_ or seeds_can_tell(*pilot, **about),
        "uneven": open_ and uneven,
    }


def _word(pair: Comparison | None, found: Decision, higher_is_better: bool) -> tuple[Word, str]:
    """Return the verdict and its reason."""
    if pair is None or pair.n < 2:
        common = pair is None or pair.paired
        both = "fewer than two seeds are common to both"
        return "cannot tell yet", both if common else "one of them has a single run"
    side = {1: ", above 0", 0: "", -1: ", below 0"}[int(found.direction)]
    if found.inside:
        return "no difference that matters", f"the whole interval is inside the margin{side}"
    if found.direction:
        word: Word = "better" if (found.direction > 0) == higher_is_better else "worse"
        end = ", beyond the margin" if found.by_margin else ""
        return word, f"the whole interval is{side[1:]}{end}"
    if pair.n < MIN_SEEDS and found.low * found.high > 0:
        few = "from two seeds nothing is called"
        if pair.n > 2:
            few = f"with {pair.n} seeds only differences beyond the margin are called"
        return "cannot tell yet", f"the interval leaves out 0, but {few}"
    return "cannot tell yet", "the interval holds both 0 and differences that matter"


def _missing(by_seed: Scores) -> tuple[Hashable, ...]:
    return tuple(seed for seed in by_seed if not has_score(by_seed, seed))


def _scored(by_seed: Scores) -> list[Hashable]:
    return [seed for seed in by_seed if has_score(by_seed, seed)]


def _collapsed(
    by_seed: Scores, chance: float | None, noise_sd: float | None
) -> tuple[Hashable, ...]:
    if chance is None:
        return ()
    return tuple(s for s, score in by_seed.items() if collapsed(score, chance, noise_sd or 0.0))


def _is_paired(one: Scores, other: Scores) -> bool:
    """Return whether half of the seeds of the one that has fewer are common to both."""
    fewer = min(len(_scored(one)), len(_scored(other)))
    return 2 * len(common_seeds(one, other)) >= max(fewer, 1)


def _stands_apart(by_seed: Scores, margin: float) -> bool:
    """Return whether a run is far outside the others, as one that did not learn.

    Its distance to the next one is more than five times the range of all others, and five margins.
    """
    values = np.sort([float(by_seed[s] or 0.0) for s in _scored(by_seed)])
    if len(values) < 3:
        return False
    gaps, ranges = (
        np.array([values[1] - values[0], values[-1] - values[-2]]),
        np.array([values[-1] - values[1], values[-2] - values[0]]),
    )
    return bool((gaps > APART * np.maximum(ranges, margin)).any())


def _columns(
    pairs: Iterable[Comparison | None], test_to_train: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return n, mean, standard error and df of each; without a common seed it counts as one."""
    rows = [
        (
            p.n,
            p.difference.estimate,
            float(standard_error(p.n, np.inf if p.sd is None else p.sd, test_to_train)),
            p.df or 1,
        )
        if p
        else (1, 0.0, np.inf, 1)
        for p in pairs
    ]
    n, mean, se, df = np.array(rows, dtype=float).reshape(-1, 4).T
    return n, mean, se, df
