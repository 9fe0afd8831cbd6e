"""The sections on training curves, calibration and gradient flow."""

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup

from counterpoise.registry import Metric
from counterpoise.report._numbers import percent, short, whole_percent
from counterpoise.report._panels import Panel, calibration, lines_of_all
from counterpoise.report._svg import STYLES
from counterpoise.report._variants import Entry

_CURVES = (
    ("validation_balanced_accuracy", "validation: balanced accuracy"),
    ("validation_accuracy", "validation: accuracy"),
    ("validation_nll", "validation: negative log-likelihood"),
    ("test_balanced_accuracy", "test: balanced accuracy"),
    ("test_accuracy", "test: accuracy"),
    ("train_accuracy", "training: accuracy"),
    ("loss", "training loss"),
)
_FLOW = (
    ("visible_share", "Visible share", "variance over the inputs, divided by the second moment"),
    ("grad_norm", "Gradient norm", "norm of the gradient of the layer's weights"),
    ("activation_rms", "Activation size", "root mean square"),
)
_FEWEST = 10  # samples of a bin: with fewer its accuracy is too uncertain
_SIZE = (330, 180)


def curves(variants: Sequence[Entry], metric: Metric) -> list[dict[str, object]]:
    """Return the training curves: per quantity that was watched, a chart of every variant."""
    found: list[dict[str, object]] = []
    for key, name in watched(variants, metric):
        share = not key.endswith(("loss", "nll"))
        spans = {v.index: _spans(v, key) for v in variants}
        values = [x for rows in spans.values() for _, *three in rows for x in three]
        if not values:
            continue
        epochs = max(e for rows in spans.values() for e, *_ in rows)
        limits = (0.0, 1.0) if share else (min(0.0, *values), _robust_top(values))
        label: Callable[[float], str] = whole_percent if share else short
        charts = [
            (v, _curve(v, spans, (0.0, max(epochs, 1.0)), limits, name, label))
            for v in variants
            if spans[v.index]
        ]
        few = _few(sorted({row[0] for rows in spans.values() for row in rows}))
        table = [(v, _numbers(spans[v.index], few, share)) for v in variants if spans[v.index]]
        found.append({"name": name, "charts": charts, "table": table, "epochs": few})
    return found


def watched(variants: Sequence[Entry], metric: Metric) -> list[tuple[str, str]]:
    """Return key and name of the primary metric, or of a substitute, and of the loss."""
    rows = [row for v in variants for r in v.records[:1] for row in r.history]
    there = {key for row in rows for key, value in row.items() if value is not None}
    primary = (f"validation_{metric.key}", f"validation: {metric.label}")
    watched = [c for c in dict.fromkeys((primary, *_CURVES[:-1])) if c[0] in there]
    return [*watched[:1], *([_CURVES[-1]] if "loss" in there else [])]


def _spans(variant: Entry, key: str) -> list[tuple[float, float, float, float]]:
    """Return epoch, mean, lowest and highest over the seeds."""
    by_epoch: dict[float, list[float]] = {}
    for record in variant.records:
        for row in record.history:
            if row.get(key) is not None:
                by_epoch.setdefault(row["epoch"], []).append(row[key])
    return [(e, sum(v) / len(v), min(v), max(v)) for e, v in sorted(by_epoch.items())]


def _robust_top(values: Sequence[float]) -> float:
    """Return the upper limit of an axis, robust to a single exploding loss."""
    ranked = sorted(values)
    return min(ranked[-1], 3 * ranked[int(0.9 * (len(ranked) - 1))]) * 1.05 or 1.0


def _curve(
    variant: Entry,
    spans: dict[int, list[tuple[float, float, float, float]]],
    epochs: tuple[float, float],
    limits: tuple[float, float],
    name: str,
    label: Callable[[float], str],
) -> Markup:
    own, base = spans[variant.index], spans.get(0) or []
    panel = Panel.of(epochs, limits, _SIZE)
    panel.axes("epoch", short, label)
    within = [(e, *(min(max(x, limits[0]), limits[1]) for x in three)) for e, *three in own]
    css = f"v{variant.index % STYLES}"
    panel.band(
        [(e, low) for e, _, low, _ in within], [(e, top) for e, *_, top in within], f"band {css}"
    )
    if variant.index:
        panel.line([(e, min(m, limits[1])) for e, m, *_ in base], "curve baseline")
    panel.line([(e, m) for e, m, *_ in within], f"curve {css}")
    panel.dots(variant.index, [(e, m) for e, m, *_ in within[-1:]], 4)
    last = own[-1]
    said = (
        f"after epoch {last[0]:.0f}: {label(last[1])}, seeds {label(last[2])} to {label(last[3])}"
    )
    return panel.picture(f"{variant.label}, {name}", said)


def _few(epochs: Sequence[float], most: int = 11) -> list[float]:
    """Return evenly spaced epochs, including the last one."""
    step = max(1, -(-len(epochs) // most))
    return list(epochs[::-step])[::-1]


def _numbers(
    rows: Sequence[tuple[float, float, float, float]], epochs: Sequence[float], share: bool
) -> list[str]:
    means = {e: mean for e, mean, *_ in rows}
    return [percent(means.get(e)) if share else short(means.get(e)) for e in epochs]


def reliability(variants: Sequence[Entry]) -> list[dict[str, object]]:
    """Return a reliability diagram of every variant, its bins pooled over the seeds."""
    found: list[dict[str, object]] = []
    for v in variants:
        bins = _bins(v) if v.records else []
        if not bins:
            continue
        ece, nll = v.mean("expected_calibration_error"), v.mean("nll")
        said = "; ".join(f"sure to {percent(c, 0)}: right in {percent(r, 0)}" for c, r, _ in bins)
        chart = calibration(v.index, bins, f"{v.label}: reliability", said)
        rows = [(percent(c), percent(r), percent(share)) for c, r, share in bins]
        found.append(
            {"variant": v, "chart": chart, "ece": percent(ece), "nll": short(nll), "rows": rows}
        )
    return found


def pooled_bins(variant: Entry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sample count, confidence and accuracy of each bin, pooled over the seeds."""
    n, confidence, right = (
        np.array(variant.scores(f"bin_{what}"), np.float64)
        for what in ("count", "confidence", "accuracy")
    )
    total = n.sum(0)
    used = np.maximum(total, 1)
    return total, *(np.nansum(n * x, 0) / used for x in (confidence, right))


def _bins(variant: Entry) -> list[tuple[float, float, float]]:
    """Return confidence, accuracy and share of the samples of each bin in use."""
    total, *both = pooled_bins(variant)
    used = total >= _FEWEST
    return list(zip(*(x[used].tolist() for x in (*both, total / total.sum())), strict=True))


def flow(variants: Sequence[Entry]) -> dict[str, object] | None:
    """Return signal and gradient by layer before the first step, of each variant's first seed."""
    flows = {v: v.records[0].flow for v in variants if v.records}
    flows = {v: rows for v, rows in flows.items() if rows}
    if not flows:
        return None
    charts = []
    for key, name, meaning in _FLOW:
        series = {
            v.index: [(k + 1, row[key]) for k, row in enumerate(rows) if (row.get(key) or 0) > 0]
            for v, rows in flows.items()
        }
        values = [y for points in series.values() for _, y in points]
        if values:
            charts.append(_flow_chart(series, values, name, meaning, max(map(len, flows.values()))))
    table = [
        (
            v,
            [
                (row["name"], row["kind"], [short(row.get(key)) for key, *_ in _FLOW])
                for row in rows
            ],
        )
        for v, rows in flows.items()
    ]
    columns = [name for _, name, _ in _FLOW]
    return {"charts": charts, "table": table, "columns": columns, "variants": list(flows)}


def _flow_chart(
    series: dict[int, list[tuple[int, float]]],
    values: Sequence[float],
    name: str,
    meaning: str,
    layers: int,
) -> dict[str, object]:
    low, high = min(values), max(values)
    panel = Panel.of((1, max(layers, 2)), (low / 1.6, high * 1.6), (344, 230), 52, log=True)
    panel.axes("layer, from the input to the output", short, short)
    lines_of_all(series, panel)
    said = f"{name} by layer on a logarithmic axis, from {short(low)} to {short(high)}"
    return {"name": name, "meaning": meaning, "picture": panel.picture(name, said)}
