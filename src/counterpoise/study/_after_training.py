"""Scores of variants without another training: by post-hoc corrections, and of all seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoise import stats
from counterpoise.metrics import Measure, evaluate, log_softmax
from counterpoise.study import record
from counterpoise.study._finished import Record

_LOGITS = "predictions.npz"


@dataclass(frozen=True)
class Ensemble:
    r"""The score of a variant's nets together, by the mean of their log-probabilities.

    .. math::
        \log p = \frac{1}{n} \sum_s \log \text{softmax}(z_s), \qquad
        e = \sqrt{\frac{n - 1}{n} \sum_s (x_s - \bar{x})^2}

    with logits z of seed s, and the scores x of the ensembles of all but one seed, with a bar their
    mean. Not comparable to single runs: it costs n nets at prediction.

    Source of e, the jackknife: Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans,
    chapter 3.

    Attributes:
        seeds: those of its nets.
        score: on the test split.
        low: the lowest score of all but one seed.
        high: the highest.
        standard_error: e.
    """

    seeds: tuple[int, ...]
    score: float
    low: float
    high: float
    standard_error: float

    @property
    def words(self) -> str:
        """A reservation that must be said with it."""
        return f"not comparable to single runs, as it costs {len(self.seeds)} nets at prediction"


@dataclass(frozen=True)
class AfterTraining:
    """Score of a variant as trained, and without another training.

    Attributes:
        label: the variant's.
        trained: the mean score as trained.
        adjusted: after post-hoc logit adjustment against as trained, on the seeds with both; an
            interval of 95% for itself. None where no seed has both.
        normalized: the same after τ-normalization of a linear head.
        ensemble: of its seeds; None where there are not two, or each has its own test split.
    """

    label: str
    trained: float
    adjusted: stats.Comparison | None
    normalized: stats.Comparison | None
    ensemble: Ensemble | None


def ensemble(records: Sequence[Record], metric: str) -> Ensemble | None:
    """Return the ensemble of a variant's runs on one test split; None of fewer than two.

    None where the metric, a key of the scores, is not defined there, and of a function of the
    user's own, which is not called on what was recorded.

    Raises:
        record.Damaged: runs whose test samples are not the same.
    """
    kept = records[0].run["spec"].get("measure") if records else None
    measure = Measure.from_json(kept) if kept else None
    if len(records) < 2 or (measure and measure.own):
        return None
    first, counts, n = _read(records[0]), records[0].run["train_counts"], len(records)
    targets, total = first["test_targets"], log_softmax(first["test_logits"])
    for r in records[1:]:  # all are read twice, as together they may be too large
        total += _log_probabilities(r, targets)

    def score(log_p: np.ndarray) -> float:
        every = vars(evaluate(targets, log_p, counts))
        return measure(targets, log_p) if measure and metric not in every else every[metric]

    left = np.array([score((total - _log_probabilities(r, targets)) / (n - 1)) for r in records])
    whole = score(total / n)
    if not np.isfinite([whole, *left]).all():
        return None
    error = np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    seeds = tuple(r.seed for r in records)
    return Ensemble(seeds, whole, float(left.min()), float(left.max()), float(error))


def _log_probabilities(r: Record, targets: np.ndarray) -> np.ndarray:
    kept = _read(r)
    if not np.array_equal(kept["test_targets"], targets):
        raise record.Damaged(f"{r.folder} was tested on other samples than the variant's first run")
    return log_softmax(kept["test_logits"])


def _read(r: Record) -> dict[str, np.ndarray]:
    """Return its predictions, which it does not keep."""
    return replace(r).predictions


def same_runs(records: Sequence[Record], others: Sequence[Record]) -> bool:
    """Return whether two variants gave the same logits, to the last bit, in all common seeds.

    The digests of the files with these are compared; False without a common seed.
    """
    first, second = (
        {r.seed: files[_LOGITS]["sha256"] for r in some if _LOGITS in (files := r.run["files"])}
        for some in (records, others)
    )
    common = first.keys() & second.keys()
    return bool(common) and all(first[seed] == second[seed] for seed in common)
