"""The charts of the report as PNG and PDF files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterpoise.report._learning import pooled_bins, watched
from counterpoise.report._matrix import confusions
from counterpoise.report._probabilities import calibrated_bins
from counterpoise.report._story import heading
from counterpoise.report._variants import Entry, entries
from counterpoise.study import Study, open_study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_figures(study: Study | str | Path, folder: str | Path) -> list[Path]:
    """Write the report's charts, each as PNG and as PDF.

    Args:
        study: a study, or its folder. Variants without a finished run are left out.
        folder: the folder to write to; it is made if missing.

    Returns:
        The files: forest, recall_by_class_size, reliability and reliability_calibrated (where the
        runs have what it needs), layer_flow, one of the training curves
        for each quantity that was watched, and one confusion matrix for each variant.

    Raises:
        ValueError: a folder without a study in it.
    """
    from matplotlib import rc_context

    from counterpoise.plots import save

    study = study if isinstance(study, Study) else open_study(study)
    ran = [v for v in entries(study) if v.records]
    with rc_context({"text.usetex": False}):  # names are no TeX, whatever a matplotlibrc says
        return [
            save(figure, Path(folder) / f"{name}.{kind}")
            for name, figure in (_charts(study, ran) if ran else ())
            for kind in ("png", "pdf")
        ]


def _charts(study: Study, ran: list[Entry]) -> Iterator[tuple[str, "Figure"]]:
    from counterpoise import plots

    for name, axes in _axes(study, ran):
        if (figure := axes.get_figure(root=True)) is not None:
            yield name, figure
    flows = {v.label: rows for v in ran if (rows := v.records[0].flow)}
    if flows:
        yield "layer_flow", plots.layer_flow(flows)


def _axes(study: Study, ran: list[Entry]) -> Iterator[tuple[str, "Axes"]]:
    from counterpoise import plots

    names = study.data["class_names"]
    differences = {v.variant: v.interval for v in study.verdicts() if v.interval is not None}
    if differences:
        row, baseline = study.metric, study.labels[0]
        axes = plots.forest(
            differences,
            margin=row.margin,
            baseline=baseline,
            unit=row.unit,
            higher_is_better=row.higher_is_better,
        )
        if (words := heading(study)) != "Ranking":
            axes.set_title(words)
        yield "forest", axes
    recalls = {v.label: np.array(v.recalls(), np.float64) for v in ran}
    counts = study.data["train_counts"]
    yield "recall_by_class_size", plots.recall_by_class_size(recalls, counts, names)
    for key, words in watched(ran, study.metric):
        histories = {v.label: rows for v in ran if all(rows := [r.history for r in v.records])}
        yield f"training_{key}", plots.training_curves(histories, key, ylabel=words)
    yield "reliability", plots.reliability({v.label: pooled_bins(v) for v in ran})
    calibrated = {v.label: bins for v in ran if (bins := calibrated_bins(v, len(ran)))}
    if calibrated:
        yield "reliability_calibrated", plots.reliability(calibrated)
    for v in ran:
        total = confusions(v.records).sum(0)
        title = f"{v.label}, {len(v.records)} seeds"
        yield f"confusion_{v.index}", plots.confusion_matrix(total, names, title=title)
