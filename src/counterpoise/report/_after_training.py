"""The section on the scores of every variant without another training."""

from collections.abc import Sequence

from counterpoise.registry import Metric
from counterpoise.report._numbers import NONE, change, mean, score, short, tick
from counterpoise.report._strips import across, arrow, axis
from counterpoise.report._variants import Entry
from counterpoise.stats import Comparison
from counterpoise.study import AfterTraining, Ensemble, Study

_CORRECTIONS = {  # by what the page calls them, the fields of a row and of a run
    "logit adjustment": ("adjusted", "tau"),
    "τ-normalization": ("normalized", "tau_norm"),
}


def section(study: Study, variants: Sequence[Entry]) -> dict[str, object] | None:
    """Return scores after corrections and of ensembles; None where there is nothing of these.

    A correction that no variant has is left out, and so are ensembles.
    """
    rows, metric = study.after_training(), study.metric
    kept = {w: f for w, f in _CORRECTIONS.items() if any(getattr(r, f[0]) for r in rows)}
    every = [row.ensemble for row in rows if row.ensemble]
    if not kept and not every:
        return None
    by_label = {v.label: v for v in variants}
    scale = across([x for row in rows for x in (row.trained, _adjusted(row))])
    return {
        "rows": [
            {
                "variant": (v := by_label[row.label]),
                "trained": score(metric, row.trained),
                "strip": arrow(v.index, scale, row.trained, _adjusted(row)),
                "corrections": [
                    _cells(metric, getattr(row, pair), v, tau) for pair, tau in kept.values()
                ],
                "ensemble": _ensemble(metric, row.ensemble),
            }
            for row in rows
        ],
        "axis": axis(scale, tick(metric)),
        "corrections": list(kept),
        "together": max(every, key=lambda e: len(e.seeds)).words if every else "",
    }


def _adjusted(row: AfterTraining) -> float:
    return row.trained + (row.adjusted.difference.estimate if row.adjusted else 0.0)


def _ensemble(metric: Metric, found: Ensemble | None) -> tuple[str, str]:
    """Return the score, and how far it goes without a seed, with its standard error."""
    if found is None:
        return NONE, ""
    spread = f"{score(metric, found.low)} to {score(metric, found.high)}"
    return score(metric, found.score), f"{spread}; ±{metric.signed(found.standard_error)[1:]}"


def _cells(
    metric: Metric, pair: Comparison | None, variant: Entry, tau: str
) -> tuple[str, str, str]:
    """Return the difference to the variant as trained, its interval, and the mean τ."""
    if pair is None:
        return NONE, "", NONE
    low, high = pair.difference.low, pair.difference.high
    ends = () if low is None or high is None else metric.possible_difference(low, high)
    said = " to ".join(change(metric, end) for end in ends)
    chosen = [r.run[tau] for r in variant.records if r.run.get(tau) is not None]
    return change(metric, pair.difference.estimate), said, short(mean(chosen))
