"""What a rule comes to on test data, with intervals over seeds and samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, hstack

from counterpoise.arguments import Counts, read_counts
from counterpoise.decisions._rule import Rule
from counterpoise.stats import Interval, draw_seeds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_VALUES = 2_000_000  # weights held in memory at a time


@dataclass(frozen=True)
class RuleScores:
    """Scores of a rule, each with its interval; of classes, one for each class, (C).

    Attributes:
        seeds: number of them.
        samples: of the test data, of all seeds.
        accuracy: share of the samples that get their class; without a class, a sample does not.
        balanced_accuracy: mean recall of the classes with test samples.
        recall: share of a class's samples that get it; None of a class without any.
        precision: share of the samples that get a class whose class it is; None if none gets it.
        mean_cost: of the samples that get a class; None without costs.
        abstained: share of the samples that get no class.
        error: share of the others that get a wrong one; None where there are none.
        coverage: share of a class's samples with it in their set; None of a class without any, and
            empty of a rule without sets.
        set_size: mean number of classes in a set; None of a rule without sets.
    """

    seeds: int
    samples: int
    accuracy: Interval
    balanced_accuracy: Interval
    recall: tuple[Interval | None, ...]
    precision: tuple[Interval | None, ...]
    mean_cost: Interval | None
    abstained: Interval
    error: Interval | None
    coverage: tuple[Interval | None, ...]
    set_size: Interval | None


def evaluate_rule(
    rules: Rule | Sequence[Rule],
    p: Sequence[npt.ArrayLike],
    targets: Sequence[npt.ArrayLike],
    *,
    scores: Sequence[npt.ArrayLike] | None = None,
    rows: Sequence[npt.ArrayLike] | None = None,
    costs: npt.ArrayLike | None = None,
    shares: Counts | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> RuleScores:
    r"""Score a rule on the test data of several seeds.

    A score is the mean over the seeds of that of each seed, in which every 0/0 is 0. Its interval
    is for new seeds and new test samples. A resample draws the seeds with replacement, their
    deviation stretched as in `stats.two_way_bootstrap`, and gives each test sample a weight from
    the exponential distribution, which is the Bayesian bootstrap. A sample has the same weight in
    all seeds that test on it: where seeds share a test split, its luck is theirs together and does
    not average out; where each draws its own, that holds of the samples common to them (`rows`).
    Of one seed the interval is for new samples alone; of several it is conservative, as what
    differs by seed and sample together is counted with both.

    Shares get two samples more, one for and one against, so that eight right of eight are no
    certainty: of one seed, the interval is then that of a Beta(k + 1, n - k + 1) distribution.
    `scipy.stats.bootstrap` draws neither seeds and samples together nor these two.

    Sources: Rubin 1981, "The Bayesian bootstrap", Ann. Stat. 9, 130; Hesterberg 2015, arXiv
    1411.5279, on bootstraps from few values.

    Args:
        rules: one, or one for each seed: chosen on that seed's validation data.
        p: of each seed, probabilities of its test samples, (N, C).
        targets: of each seed, their classes, int (N).
        scores: of each seed, those of `Rule.decide`, (N, C).
        rows: of each seed, the positions of its test samples among all, int (N), as
            `Record.test_rows`; None where all seeds share one test split.
        costs: c[true][predicted], (C, C); None for the rule's own, if any.
        shares: of the classes, (C), at which all but recall and coverage are computed,
            each test sample weighted by its class's; None for those of the test data.
        confidence: of each interval by itself.
        resamples: number of resamples.
        seed: of the draws.

    Raises:
        ValueError: no seed, or numbers of seeds, samples or classes that differ.

    Example:
        >>> p = [[[0.9, 0.1]] * 30 + [[0.2, 0.8]] * 10] * 3
        >>> found = evaluate_rule(Rule("probable"), p, [[0] * 28 + [1] * 12] * 3)
        >>> round(found.accuracy.estimate, 3), round(found.recall[1].low, 2)
        (0.95, 0.55)
    """
    number = len(p)
    many = [rules] * number if isinstance(rules, Rule) else list(rules)
    given = [np.asarray(x, np.float64) for x in p]
    true = [np.asarray(t, np.int64) for t in targets]
    own = [None] * number if scores is None else list(scores)
    if not number or not len(many) == len(true) == len(own) == number:
        raise ValueError("p, targets, scores and rules must be of the same seeds, one at least")
    at = [np.arange(len(t)) for t in true] if rows is None else [np.asarray(r) for r in rows]
    sizes = {(len(q), len(t), len(a)) for q, t, a in zip(given, true, at, strict=True)}
    if any(len(set(three)) > 1 for three in sizes) or (rows is None and len(sizes) > 1):
        raise ValueError(
            "p, targets and rows must be of the same samples, and without rows those of all seeds, "
            f"but got (p, targets, rows) of {', '.join(map(str, sorted(sizes)[:3]))} samples"
        )
    every, place = np.unique(np.concatenate(at), return_inverse=True)
    places = np.split(place, np.cumsum([len(a) for a in at])[:-1])
    classes = given[0].shape[1]
    matrix = costs if costs is not None else many[0].costs or None
    cost = None if matrix is None else np.array(matrix, np.float64)
    pairs = [
        _counted(rule, q, t, s, cost, shares)
        for rule, q, t, s in zip(many, given, true, own, strict=True)
    ]
    rng = np.random.default_rng(seed)
    away = 1 / number + draw_seeds(rng, number, resamples, confidence)
    drawn, columns = [], pairs[0][0].shape[1]
    padded = np.arange(columns) >= 2  # mean cost and set size are no shares
    for block in np.array_split(away, -(-resamples * len(every) // _VALUES)):
        weight = rng.standard_exponential((len(block), len(every)))
        pads = rng.standard_exponential((2, len(block), columns)) * padded
        found = np.zeros((len(block), columns))
        for s, (top, bottom) in enumerate(pairs):
            w = weight[:, places[s]]
            found += block[:, [s]] * _ratio(w @ top + pads[0], w @ bottom + pads.sum(0))
        drawn.append(found)
    ones = [np.ones((1, len(t))) for t in true]
    ratios = [_ratio(w @ a, w @ b)[0] for w, (a, b) in zip(ones, pairs, strict=True)]
    there = np.any([(w @ b)[0] > 0 for w, (_, b) in zip(ones, pairs, strict=True)], axis=0)
    return _scores(
        np.mean(ratios, 0), np.concatenate(drawn), there, classes, confidence, many, true, cost
    )


def _counted(
    rule: Rule,
    p: Floats,
    t: Ints,
    scores: npt.ArrayLike | None,
    cost: Floats | None,
    shares: Counts | None,
) -> tuple[csr_matrix, csr_matrix]:
    """Return what each sample adds to numerators and denominators, (N, columns).

    The columns are mean cost, set size, accuracy, abstained, error, and C each of recall,
    precision and coverage.
    """
    n, classes = p.shape
    answer = rule.decide(p, scores)
    kept, right, w = answer >= 0, answer == t, np.ones(n)
    if shares is not None:
        pi = read_counts(shares, "shares")
        w = (pi / np.maximum(np.bincount(t, minlength=classes), 1))[t]
        w = w / w.mean()
    sets = rule.sets_of(p) if rule.sets else np.zeros(p.shape, bool)
    charged = np.zeros(n) if cost is None else cost[t, answer] * kept
    whole, top, bottom = np.zeros(n, np.int64), [], []
    for codes, width, over, under in (
        (whole, 1, w * charged, w * kept),
        (whole, 1, w * sets.sum(1), w),
        (whole, 1, w * right, w),
        (whole, 1, w * ~kept, w),
        (whole, 1, w * (kept & ~right), w * kept),
        (t, classes, right, np.ones(n)),
        (np.maximum(answer, 0), classes, w * right, w * kept),
        (t, classes, sets[np.arange(n), t], np.ones(n)),
    ):
        for values, columns in ((over, top), (under, bottom)):
            columns.append(csr_matrix((values * 1.0, (np.arange(n), codes)), (n, width)))
    return csr_matrix(hstack(top)), csr_matrix(hstack(bottom))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def _scores(
    estimate: Floats,
    drawn: Floats,
    there: npt.NDArray[np.bool_],
    classes: int,
    confidence: float,
    rules: Sequence[Rule],
    targets: Sequence[Ints],
    cost: Floats | None,
) -> RuleScores:
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]

    def interval(k: int) -> Interval | None:
        return _around(estimate[k], drawn[:, k], ends, k >= 2) if there[k] else None

    recall, precision, coverage = (
        tuple(interval(k) for k in range(5 + m * classes, 5 + (m + 1) * classes)) for m in range(3)
    )
    used = 5 + np.flatnonzero(there[5 : 5 + classes])
    middle = estimate[used].mean()
    balanced = drawn[:, used].mean(1)  # of many classes the added samples would pull it down
    sets = bool(rules[0].sets)
    whole = [interval(k) for k in range(5)]
    assert whole[2]  # of all samples
    assert whole[3]
    never = not any(rule.abstain for rule in rules)
    return RuleScores(
        seeds=len(rules),
        samples=sum(map(len, targets)),
        accuracy=whole[2],
        balanced_accuracy=_around(middle, balanced - balanced.mean() + middle, ends, True),
        recall=recall,
        precision=precision,
        mean_cost=None if cost is None else whole[0],
        abstained=Interval(0.0, 0.0, 0.0) if never else whole[3],
        error=whole[4],
        coverage=coverage if sets else (),
        set_size=whole[1] if sets else None,
    )


def _around(estimate: float, drawn: Floats, ends: Sequence[float], share: bool) -> Interval:
    low, high = np.quantile(drawn, ends)
    if share:
        low, high = max(low, 0.0), min(high, 1.0)
    return Interval(float(min(low, estimate)), float(estimate), float(max(high, estimate)))
