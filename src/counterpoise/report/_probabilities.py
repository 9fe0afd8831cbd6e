"""The section on probabilities: corrected for loss and sampler, and calibrated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from counterpoise import metrics, stats
from counterpoise.findings import IGNORANT, best_variant
from counterpoise.probabilities import Posterior
from counterpoise.report._numbers import MINUS, NONE, count, mean, percent, short
from counterpoise.report._panels import calibration
from counterpoise.report._strips import across, arrow, axis
from counterpoise.report._variants import Entry
from counterpoise.study import Record, Study

Floats = npt.NDArray[np.float64]
Bins = tuple[Floats, Floats, Floats, Floats]
_FEWEST = 10  # samples of a bin: with fewer its accuracy is too uncertain
_MOST = 60_000_000  # logits of validation splits to fit posteriors on
_GAIN = 0.01  # of the log-loss: less is none
_OFF = 0.01  # of a class's share: less is none
_LOG = 0.1  # of an offset
_WARM = 1.05  # a temperature nearer to 1 changes nothing
OLDER = (
    "Probabilities at the training data's class shares, and decisions out of them, are left out: "
    "these runs are of an older version, which did not keep what a net's logits stand for."
)


@dataclass(frozen=True, eq=False)
class RunProbabilities:
    """Probabilities of one run.

    Attributes:
        posterior: that is fitted on its validation split.
        logits: of the test split, (N, C).
        targets: of the test split, (N).
        weights: with which the test samples have the training data's class shares, (N).
        validation_logits: the same of the validation split; of no samples where there is none.
        validation_targets: the same.
        rows: positions of the test samples, as in `Record.predictions`, or None.
    """

    posterior: Posterior
    logits: npt.NDArray[np.floating]
    targets: npt.NDArray[np.int64]
    weights: Floats
    validation_logits: npt.NDArray[np.floating]
    validation_targets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64] | None

    @cached_property
    def p(self) -> Floats:
        """Return the probabilities of the test samples, (N, C)."""
        return np.exp(self.posterior(self.logits))

    @cached_property
    def held(self) -> Floats:
        """Return the probabilities of the validation samples, (N, C)."""
        return np.exp(self.posterior(self.validation_logits))


def of_run(record: Record, posterior: Posterior | None = None) -> RunProbabilities | None:
    """Return a run's probabilities, which nobody keeps but the caller; None of an older version.

    Args:
        record: the run.
        posterior: of the run, where it is known; None to fit it.
    """
    once = replace(record)  # what it reads is let go of with it
    if posterior is None:
        posterior = once.posterior()
    if posterior is None:
        return None
    kept, train = once.predictions, posterior.train_counts
    targets = kept["test_targets"].astype(np.int64)
    return RunProbabilities(
        posterior,
        kept["test_logits"],
        targets,
        metrics.share_weights(targets, train),
        kept.get("validation_logits", np.zeros((0, len(train)))),
        kept.get("validation_targets", np.zeros(0)).astype(np.int64),
        kept.get("test_rows"),
    )


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of one run, at the training data's class shares.

    Attributes:
        posterior: of the run.
        losses: log-loss as the net gives it, corrected, and corrected and calibrated.
        errors: calibration error of the first and the last.
        bins: of both: weight, confidence and accuracy of each bin, and its number of samples.
    """

    posterior: Posterior
    losses: tuple[float, float, float]
    errors: tuple[float, float]
    bins: tuple[Bins, Bins]


def _score(record: Record) -> _Scores | None:
    made = of_run(record)
    if made is None:
        return None
    p, t = made.posterior, made.targets
    plain = replace(p, temperature=1.0, bias=(), curves=())
    three = metrics.log_softmax(made.logits), plain(made.logits), p(made.logits)
    given, corrected, calibrated = (metrics.log_loss_at(x, t, p.train_counts) for x in three)
    before, after = (_binned(np.exp(x), made) for x in (three[0], three[2]))
    errors = metrics.calibration_error(*before[:3]), metrics.calibration_error(*after[:3])
    return _Scores(p, (given, corrected, calibrated), errors, (before, after))


def _binned(p: Floats, made: RunProbabilities) -> Bins:
    samples, _, _ = metrics.reliability(p, made.targets)
    return *metrics.reliability(p, made.targets, made.weights), samples


def section(study: Study, variants: Sequence[Entry]) -> dict[str, Any] | None:
    """Return the section; None where no run has what it needs.

    "posteriors" are by label and seed those that were fitted.
    """
    by_label = {v.label: v.records for v in variants}
    for label in study.reference_labels:
        by_label[label] = tuple(r for r in study.references if r.label == label)
    found = {label: _scores(few(records, len(by_label))) for label, records in by_label.items()}
    if not any(found[v.label] for v in variants):
        return None
    shown = {label: by_seed for label, by_seed in found.items() if by_seed}
    index = {v.label: v for v in variants}
    losses = {k: [_mean(by_seed, j) for j in range(3)] for k, by_seed in shown.items()}
    errors = {
        k: [percent(mean([s.errors[j] for s in by_seed.values()])) for j in (0, 1)]
        for k, by_seed in shown.items()
    }
    known = [x for three in losses.values() for x in three if np.isfinite(x)]
    scale = across(known, low=0.0, width=240)
    base = found[study.labels[0]]
    others = max(len(shown) - bool(base), 1)
    rows = []
    for label, by_seed in shown.items():
        three, link = losses[label], next(iter(by_seed.values())).posterior.link
        v = index.get(label)
        drawn = bool(np.isfinite(three).all())
        rows.append(
            {
                "variant": v,
                "label": label,
                "losses": [_nats(x) for x in three],
                "strip": arrow(v.index if v else 0, scale, three[0], three[2]) if drawn else "",
                "errors": errors[label],
                "difference": () if by_seed is base else _difference(study, base, by_seed, others),
                "correction": "fitted" if link.approximate else "exact",
                "reason": link.approximate if v else "",
            }
        )
    wanted = best_variant(study)
    other = wanted if wanted != study.labels[0] else study.best
    return {
        "said": _said(wanted, found.get(wanted, {}), losses.get(IGNORANT, [np.inf] * 3)[2]),
        "rows": rows,
        "axis": axis(scale, short),
        "charts": [
            _chart(v, shown[v.label]) | {"errors": errors[v.label]}
            for v in variants
            if v.label in shown and v.label in (study.labels[0], other)
        ],
        "same": _same_shares(study),
        "together": others > 1,
        "fitted_on": _fitted_on(study, found[wanted] or next(iter(shown.values()))),
        "posteriors": {
            label: {seed: s.posterior for seed, s in by_seed.items()}
            for label, by_seed in found.items()
        },
    }


def few(records: Sequence[Record], rows: int) -> Sequence[Record]:
    """Return the runs whose posteriors can be fitted in minutes: of ever so many classes, two."""
    held = (records[0].run.get("validation") or {}).get("support", ()) if records else ()
    return records[: max(2, _MOST // max(rows * sum(held) * len(held), 1))]


def _scores(records: Sequence[Record]) -> dict[int, _Scores]:
    every = {r.seed: _score(r) for r in records}
    return {seed: s for seed, s in every.items() if s is not None}


def _mean(by_seed: dict[int, _Scores], which: int) -> float:
    return float(np.mean([s.losses[which] for s in by_seed.values()]))


def _nats(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "∞"


def _difference(
    study: Study, base: dict[int, _Scores], own: dict[int, _Scores], others: int
) -> tuple[str, str]:
    """Return the difference to the baseline's calibrated log-loss, and its interval."""
    if not set(base) & set(own):
        return "", ""
    found = stats.compare_paired(
        {seed: s.losses[2] for seed, s in base.items()},
        {seed: s.losses[2] for seed, s in own.items()},
        confidence=1 - 0.05 / others,
        higher_is_better=False,
        test_to_train=study.test_to_train,
    ).difference
    if found.low is None or found.high is None:
        return _signed(found.estimate), NONE
    return _signed(found.estimate), f"{_signed(found.low)} to {_signed(found.high)}"


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", MINUS)


def _said(label: str, by_seed: dict[int, _Scores], shares_alone: float) -> str:
    """Return what to do, in a sentence."""
    if not by_seed:
        return ""
    given, corrected, after = (_mean(by_seed, k) for k in range(3))
    fitted = all(s.posterior.samples for s in by_seed.values())
    what = "corrected and calibrated" if fitted else "corrected"
    change = f"log-loss {_nats(given)} → {_nats(after)}"
    if after < (1 - _GAIN) * given:
        posterior = next(iter(by_seed.values())).posterior
        heat = float(np.mean([np.log(s.posterior.temperature) for s in by_seed.values()]))
        why = _reason(posterior, np.exp(heat))
        said = f"Take {label}'s probabilities {what}: as the net gives them, {why}; {change}"
    elif (low := _compared(by_seed).difference.low) is not None and low > 0:
        least, state = min((corrected, "corrected alone"), (given, "as the net gives them"))
        said = f"Take {label}'s probabilities {state} (log-loss {_nats(least)}): {what}, they are "
        said += f"worse here, {change}"
    else:
        said = f"{label}'s probabilities may be taken as the net gives them: {what}, {change}, "
        said += "which is no more than seeds differ by"
    if min(given, corrected, after) >= shares_alone:
        said += f". The class shares alone, without looking at a sample, give {_nats(shares_alone)}"
    return f"{said}."


def _compared(by_seed: dict[int, _Scores]) -> stats.Comparison:
    """Compare the log-loss after correction and calibration with that before, seed by seed."""
    before, after = ({seed: s.losses[k] for seed, s in by_seed.items()} for k in (0, 2))
    return stats.compare_paired(before, after, higher_is_better=False)


def _reason(posterior: Posterior, hot: float) -> str:
    link, n = posterior.link, np.array(posterior.seen_counts)
    shares = [np.array(x) / np.sum(x) for x in (posterior.train_counts, n)]
    resampled = bool(np.abs(shares[0] - shares[1]).max() >= _OFF)
    if link.approximate:
        return "what they are of is not known, and is fitted on validation"
    if link.offset:
        off = np.array(link.offset) - np.log(np.maximum(n, 1))
        if np.ptp(off) < _LOG and not resampled:
            return "they are of balanced classes"
        return "its loss shifts them towards the rare classes"
    if resampled:
        return "they are of the class shares that its sampler showed"
    if link.weight and np.ptp(link.weight) > 0:
        return "its class weights shift them towards the rare classes"
    if link.gamma or link.poly:
        return "its loss keeps them from being sure"
    if hot > _WARM:
        return "they are too sure"
    return "they are not sure enough" if hot < 1 / _WARM else "they are off by little"


def _same_shares(study: Study) -> bool:
    """Return whether the test split has the class shares of the training data."""
    train, test = (np.array(study.data[k], float) for k in ("train_counts", "test_counts"))
    return bool(np.abs(train / train.sum() - test / test.sum()).max() < _OFF)


def _fitted_on(study: Study, by_seed: dict[int, _Scores]) -> str:
    fitted = max(s.posterior.samples for s in by_seed.values())
    said = "Without a validation split to calibrate on, calibrated is corrected alone."
    if fitted:
        said = f"Calibrated on {count(fitted, 'validation sample')} of each seed."
    if len(by_seed) < len(study.plan.seeds) and study.finished:
        said += f" Of so many classes, the first {len(by_seed)} seeds are looked at."
    return said


def _pooled(by_seed: dict[int, _Scores], which: int) -> Bins:
    """Return weight, confidence, accuracy and samples of each bin, over the seeds."""
    weight, confidence, right, samples = (
        np.array([s.bins[which][k] for s in by_seed.values()]) for k in range(4)
    )
    total = weight.sum(0)
    used = np.where(total > 0, total, 1)
    confidence, right = (np.nansum(weight * x, 0) / used for x in (confidence, right))
    return total, confidence, right, samples.sum(0)


def calibrated_bins(variant: Entry, rows: int) -> tuple[Floats, Floats, Floats] | None:
    """Return samples, confidence and accuracy of each bin after calibration; None without."""
    by_seed = _scores(few(variant.records, rows))
    if not by_seed:
        return None
    _, confidence, right, samples = _pooled(by_seed, 1)
    return samples, confidence, right


def _chart(variant: Entry, by_seed: dict[int, _Scores]) -> dict[str, object]:
    """Return a reliability diagram of a variant's probabilities, before and after."""
    rows: list[list[list[float]]] = []
    for which in (0, 1):
        total, confidence, right, samples = _pooled(by_seed, which)
        three = np.stack([confidence, right, total / total.sum()], 1)
        rows.append(three[samples >= _FEWEST].tolist())
    before, after = ([(c, r, s) for c, r, s in some] for some in rows)
    said = "; ".join(f"sure to {percent(c, 0)}: right in {percent(r, 0)}" for c, r, _ in after)
    title = f"{variant.label}: reliability, calibrated and as the net gives it"
    return {
        "variant": variant,
        "picture": calibration(variant.index, after, title, said, before),
        "tables": [
            (words, [[percent(x) for x in row] for row in some])
            for words, some in zip(("As the net gives it", "Calibrated"), rows, strict=True)
        ],
    }
