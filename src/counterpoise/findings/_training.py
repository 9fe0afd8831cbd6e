"""Findings on a study's trainings: CP226, CP227 and CP228."""

import math
from statistics import median

import numpy as np
import numpy.typing as npt

from counterpoise.findings.finding import Evidence, Finding, percent, sentence, shown
from counterpoise.registry import METRICS
from counterpoise.study import Record, Study
from counterpoise.study.plan import optimizer_of

SHORTEST = 5  # epochs that a straight line is laid through, at least
RISE = 1.1  # times the lowest validation nll: from here on it has risen
APART = 3.0  # times: first gradients that differ more have a say in the comparison

_WATCHED = ("accuracy", "balanced_accuracy", "nll")  # of each epoch

Curves = npt.NDArray[np.float64]


def still_improving(study: Study) -> list[Finding]:
    """CP226: the seeds' mean metric improves to the end, beyond its wobble and the margin.

    A straight line is laid through the last fifth of the epochs, and `SHORTEST` of them at least.
    """
    word = study.plan.metric if study.plan.metric in _WATCHED else "balanced_accuracy"
    row, column, found = METRICS[word], f"validation_{word}", []
    margin = study.metric.margin if row.unit == study.metric.unit else row.margin
    for label in study.labels:
        curves = _curves(study.of(label), column)
        window = max(SHORTEST, study.plan.training_of(study.plan.variant_of(label)).epochs // 5)
        if curves is None or curves.shape[1] <= window:  # the first row is the untrained net's
            continue
        gain = _sure_rise(row.sign * curves.mean(0)[-window:])
        if gain < margin:
            continue
        template = (
            "{label} was still improving when training ended: over the last {window} epochs its "
            "{measure} on validation {moved} by {gain:.{digits}f}{unit} (straight line "
            "through the mean of {seeds} seeds). More epochs may change its place."
        )
        evidence: Evidence = {
            "label": label,
            "window": window,
            "measure": row.label,
            "moved": "rose" if row.higher_is_better else "fell",
            "digits": row.decimals,
            "unit": row.points,
            "gain": row.rounded(gain),
            "seeds": len(curves),
        }
        found.append(sentence("CP226", template, evidence))
    return found


def _sure_rise(curve: Curves) -> float:
    """Return the gain of a straight line over the curve; 0 if its slope may be 0 (95%)."""
    from scipy.special import stdtrit  # and not scipy.stats, which takes long to import

    (slope, _), covariance = np.polyfit(np.arange(len(curve)), curve, 1, cov=True)
    sure = slope > stdtrit(len(curve) - 2, 0.975) * math.sqrt(covariance[0, 0])
    return float(slope) * (len(curve) - 1) if sure else 0.0


def overfit(study: Study) -> list[Finding]:
    """CP227: validation nll is well above its lowest value, and the training loss is below."""
    found: list[Finding] = []
    for v in study.plan.nets:
        if study.plan.training_of(v).patience:  # the net is that of the best epoch
            continue
        records = study.of(study.plan.label(v))
        nll, loss, balanced = (_curves(records, column, skip=1) for column in _LOOKED_AT)
        # Where the loss changes on the way, its fall is no sign of learning.
        if v.deferred or v.sampler == "progressive" or nll is None:
            continue
        if loss is None or balanced is None:
            continue
        best = int(nll.mean(0).argmin())
        worse = int((nll[:, -1] > nll[:, best]).sum())
        (low, high), (start, end), shares = (c.mean(0)[[best, -1]] for c in (nll, loss, balanced))
        if high > RISE * low and end < start and 2 * worse > len(nll):
            evidence: Evidence = {
                "label": study.plan.label(v),
                "best": best + 1,
                "worse": worse,
                "seeds": len(nll),
                "nll": f"{low:.3g}",
                "nll_end": f"{high:.3g}",
                "loss": f"{start:.3g}",
                "loss_end": f"{end:.3g}",
                "balanced": percent(shares[0]),
                "balanced_end": percent(shares[1]),
            }
            found.append(sentence("CP227", _OVERFIT, evidence))
    return found


_LOOKED_AT = ("validation_nll", "loss", "validation_balanced_accuracy")
_OVERFIT = (
    "{label} overfits: after epoch {best} its mean negative log-likelihood on validation rose from "
    "{nll} to {nll_end} (it rose in {worse} of {seeds} seeds) while its training loss fell from "
    "{loss} to {loss_end}; balanced accuracy on validation went from {balanced:.1f}% to "
    "{balanced_end:.1f}%."
)


def _curves(records: list[Record], column: str, skip: int = 0) -> Curves | None:
    """A column of every seed's history, a row a seed; None where it was not watched.

    A second stage, in which the head is trained once more, is left out.
    """
    found = [[row for row in r.history if row.get("stage", 1) == 1] for r in records]
    shortest = min(map(len, found), default=0)  # some may have ended early
    rows = [[row.get(column) for row in history[skip:shortest]] for history in found]
    known = rows and all(rows) and not any(value is None for row in rows for value in row)
    return np.array(rows, float) if known else None


def gradient_sizes(study: Study) -> list[Finding]:
    """CP228: the loss scales the first gradient, and with it the steps at a fixed rate.

    Told where it matters: plain or momentum SGD, without clipping, one learning rate for all. A
    variant is compared with the first one of the same norm.
    """
    sizes: dict[str, tuple[str, float]] = {}  # of nets alike: the first variant, and its gradient
    found = []
    for v in study.plan.nets:
        label, t = study.plan.label(v), study.plan.training_of(v)
        size = _first_gradient(study.of(label))
        if size is None or t.lr == "auto" or optimizer_of(t) != "sgd" or t.clip_norm:
            continue
        alike = repr((v.norm, v.norm_settings, t.model, t.lr, t.batch_size, t.epochs))
        other, reference = sizes.setdefault(alike, (label, size))
        if max(size, reference) <= APART * min(size, reference):
            continue
        template = (
            "The first gradient of {label} is {factor} times {than} that of {other}, and at the "
            "same learning rate ({lr}) so are its first steps: the comparison mixes the loss with "
            "the size of the steps."
        )
        evidence: Evidence = {
            "label": label,
            "other": other,
            "factor": shown(max(size, reference) / min(size, reference)),
            "than": "smaller than" if size < reference else "as large as",
            "lr": f"{t.lr:g}",
        }
        found.append(sentence("CP228", template, evidence))
    return found


def _first_gradient(records: list[Record]) -> float | None:
    """The seeds' median norm of the gradient at the first step; None where it was not measured."""
    norms = [[row.get("grad_norm") for row in r.flow] for r in records]
    sizes = [math.sqrt(sum(n * n for n in row if n)) for row in norms if any(row)]
    return median(sizes) if sizes else None
