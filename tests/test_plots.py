"""`counterpoise.plots`: the pictures exist, are large enough, and show the given numbers."""

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from counterpoise import plots
from counterpoise.metrics import Scores, evaluate, score
from counterpoise.stats import Interval

NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Ankle boot"]
SIZES = [50, 40, 30, 20, 10]
CONFUSION = np.array([[250, 50, 0], [1, 299, 0], [0, 0, 0]])


def scores(seed: int) -> Scores:
    """Scores of answers that are right four times in five; the classes shrink."""
    random = np.random.default_rng(seed)
    targets = np.repeat(np.arange(5), SIZES)
    wrong = random.integers(0, 5, len(targets))
    return score(targets, np.where(random.random(len(targets)) < 0.8, targets, wrong), 5)


def history(*accuracies: float) -> list[dict[str, float | None]]:
    train = [None, *(a + 0.02 for a in accuracies[1:])]
    return [
        {"epoch": e, "test_accuracy": a, "train_accuracy": t}
        for e, (a, t) in enumerate(zip(accuracies, train, strict=True))
    ]


def flow(base: float) -> list[dict[str, float | None]]:
    values = [base**k if k < 14 else 0.0 for k in range(17)]
    return [{"visible_share": v, "grad_norm": v or None, "activation_rms": 0.5 + v} for v in values]


def pair() -> Figure:
    return plots.confusion_pair(scores(0), scores(1), NAMES, ["cross entropy", "focal"])


def bars() -> Figure:
    return plots.recall_bars({"cross entropy": scores(0), "focal": scores(1)}, NAMES)


def curves() -> Figure:
    histories = {"plain": history(0.1, 0.1), "layer": history(0.1, 0.86), "g": history(0.1, 0.861)}
    return plots.accuracy_curves(histories, chance=0.1)


def layers() -> Figure:
    return plots.layer_flow({"plain": flow(0.1), "layer": flow(0.98)})


RECALLS = np.array([[0.9, 0.8, 0.7, 0.6, np.nan], [0.7, 0.8, 0.7, 0.4, np.nan]])
DIFFERENCES = {"focal": Interval(-0.02, 0.01, 0.04), "one seed": Interval(None, 0.03, None)}


def forest(ax: Axes | None = None) -> Axes:
    return plots.forest(DIFFERENCES, margin=0.01, baseline="cross entropy", ax=ax)


def class_size(ax: Axes | None = None) -> Axes:
    named = {"cross entropy": RECALLS, "focal": RECALLS[0]}
    return plots.recall_by_class_size(named, SIZES[::-1], NAMES, ax=ax)


def bands(ax: Axes | None = None) -> Axes:
    seeds = [history(0.1, 0.5, 0.7), history(0.1, 0.7, 0.9)]
    return plots.training_curves({"plain": seeds}, "train_accuracy", ax=ax)


def calibration() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    logits = random.normal(size=(500, 3))
    logits[np.arange(500), targets := random.integers(0, 3, 500)] += 1.0
    return targets, logits


def diagram(ax: Axes | None = None) -> Axes:
    found = evaluate(*calibration(), [500, 50, 5])
    three = (found.bin_count, found.bin_confidence, found.bin_accuracy)
    return plots.reliability({"plain": three}, ax=ax)


def matrix(ax: Axes | None = None) -> Axes:
    return plots.confusion_matrix(CONFUSION, NAMES[:3], ax=ax)


DISPLAYS = [forest, class_size, bands, diagram, matrix]


def pixels(path: Path) -> tuple[int, int]:
    """Width and height from the header of a PNG."""
    start = path.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", start[16:24])


def texts(axes: Axes, kind: str) -> dict[tuple[int, int], str]:
    found = [text for text in axes.texts if text.get_gid() == kind]
    return {(round(t.get_position()[1]), t.get_position()[0]): t.get_text() for t in found}


def drawn(confusion: np.ndarray = CONFUSION) -> Axes:
    axes = Figure().subplots()
    plots.draw_confusion(axes, confusion, NAMES[: len(confusion)], "title")
    return axes


@pytest.mark.parametrize(
    ("draw", "width", "height"),
    [(pair, 1900, 900), (bars, 1900, 1000), (curves, 1200, 650), (layers, 1900, 650)],
)
def test_saves_a_large_png(
    draw: Callable[[], Figure], width: int, height: int, tmp_path: Path
) -> None:
    path = plots.save(draw(), tmp_path / "new" / "figure.png")
    assert (np.array(pixels(path)) >= (width, height)).all()
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("draw", [pair, bars, curves, layers])
def test_all_text_lies_within_the_picture(draw: Callable[[], Figure]) -> None:
    figure = draw()
    figure.canvas.draw()
    inside = figure.bbox.padded(1.0)
    for axes in figure.axes:
        box = axes.get_tightbbox(figure.canvas.get_renderer())
        assert (inside.min <= box.min).all(), axes
        assert (box.max <= inside.max).all(), axes


def test_no_global_state_is_touched() -> None:
    before = dict(mpl.rcParams)
    for draw in (pair, bars, curves, layers):
        draw()
    assert dict(mpl.rcParams) == before


def test_cells_show_counts_and_shares() -> None:
    axes = drawn()
    assert texts(axes, "count") == {(0, 0): "250", (0, 1): "50", (1, 0): "1", (1, 1): "299"}
    shares = {(0, 0): "83%", (0, 1): "17%", (1, 0): "<1%", (1, 1): ">99%"}
    assert texts(axes, "percent") == shares


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.integers(0, 999), min_size=3, max_size=3), min_size=3, max_size=3))
def test_counts_are_those_given(rows: list[list[int]]) -> None:
    confusion = np.array(rows)
    found = texts(drawn(confusion), "count")
    assert found == {(i, j): str(confusion[i, j]) for i, j in np.argwhere(confusion)}


def test_of_many_classes_the_largest_confusions_are_named_on_a_figure_of_one_size() -> None:
    found = []
    for classes in (41, 500):
        confusion = np.diag(np.full(classes, 40))
        confusion[7, 3], confusion[2, 5] = 60, 10
        names = [f"class {k}" for k in range(classes)]
        axes = plots.confusion_matrix(confusion, names)
        (note,) = axes.texts
        assert "class 7, taken for class 3: 60 (60%)\nclass 2, taken for class 5: 10" in (
            note.get_text()
        )
        assert len(axes.get_xticklabels()) < 20
        assert axes.images[0].get_array()[7, 3] == pytest.approx(0.6)
        found.append(axes.get_figure(root=True).get_size_inches().tolist())
    assert found[0] == found[1]
    assert len(plots.confusion_matrix(np.ones((40, 40), int), names[:40]).texts) == 2 * 40 * 40


def test_shade_is_the_share_of_the_true_class() -> None:
    image = drawn().images[0]
    np.testing.assert_allclose(
        image.get_array(), [[5 / 6, 1 / 6, 0], [1 / 300, 299 / 300, 0], [0] * 3]
    )
    assert image.get_clim() == (0.0, 1.0)


def test_axes_say_what_they_are() -> None:
    axes = drawn()
    assert [t.get_text() for t in axes.get_yticklabels()][1] == "Trouser (n=300)"
    assert axes.get_ylabel() == "true"
    assert axes.get_xlabel() == "predicted\nshade and % = share of the true class"


def luminance(colour: object) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


def contrast(one: object, other: object) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_text_has_the_better_contrast(background: tuple[float, float, float]) -> None:
    chosen = plots.readable_on(background)
    best = max(contrast("black", background), contrast("white", background))
    assert contrast(chosen, background) == pytest.approx(best)
    assert best > 4.5


def test_text_contrasts_with_its_cell() -> None:
    axes = drawn()
    image = axes.images[0]
    for text in axes.texts:
        column, row = text.get_position()
        cell = image.cmap(image.norm(image.get_array()[round(row), column]))
        assert contrast(text.get_color(), cell) > 4.5


def test_bars_run_from_the_smallest_class() -> None:
    top, below = bars().axes
    labels = [t.get_text() for t in below.get_xticklabels()]
    assert labels == [f"{n}\nn={s}" for n, s in zip(NAMES[::-1], SIZES[::-1], strict=True)]
    heights = [bar.get_height() for bar in top.containers[1]]
    np.testing.assert_allclose(heights, 100 * scores(1).recall[::-1])
    changes = [bar.get_height() for bar in below.containers[0]]
    np.testing.assert_allclose(changes, 100 * (scores(1).recall - scores(0).recall)[::-1])


def test_bars_differ_without_colour() -> None:
    top = bars().axes[0]
    assert len({group[0].get_hatch() for group in top.containers}) == len(top.containers)


def test_curves_are_named_at_their_ends() -> None:
    notes = [text.get_text() for text in curves().axes[0].texts]
    assert notes == ["plain  10.0%", "layer  86.0%", "g  86.1%", "guessing: 10%"]


@pytest.mark.parametrize("ends", [(0.1, 0.86, 0.861), (0.1, 0.1, 0.1), (0.99, 0.995, 1.0)])
def test_names_at_line_ends_do_not_overlap(ends: tuple[float, ...]) -> None:
    histories = {f"net {k}": history(0.1, end) for k, end in enumerate(ends)}
    figure = plots.accuracy_curves(histories)
    figure.canvas.draw()
    labels = figure.axes[0].texts[: len(ends)]
    boxes = [label.get_bbox_patch().get_window_extent() for label in labels]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    panel = figure.axes[0].bbox
    assert all(panel.y0 - 1 < box.y0 and box.y1 < panel.y1 + 1 for box in boxes)


def test_zeros_are_marked_on_the_logarithmic_axis() -> None:
    share, gradient, size = layers().axes
    hollow = [line for line in share.lines if line.get_marker() == "v"]
    assert hollow[0].get_xdata().tolist() == [15, 16, 17]
    assert (share.lines[0].get_ydata() > 0).all()
    noted = ["exactly 0" in axes.texts[0].get_text() for axes in (share, gradient, size)]
    assert noted == [True, False, False]
    assert len(gradient.lines[0].get_xdata()) == 14


@pytest.mark.parametrize("value", [None, 0.0, 0.5])
def test_flow_without_variety_can_be_drawn(value: float | None, tmp_path: Path) -> None:
    layer = {"visible_share": value, "grad_norm": value, "activation_rms": value}
    plots.save(plots.layer_flow({"plain": [layer]}), tmp_path / "flow.png")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        plots.save(Figure(), path)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "figure.png").symlink_to("mine.txt")
    plots.save(Figure(), tmp_path / "figure.png")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert pixels(tmp_path / "figure.png") == (832, 624)


def test_wrong_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 3\) and 2 class names"):
        plots.draw_confusion(Figure().subplots(), CONFUSION, NAMES[:2], "title")
    with pytest.raises(ValueError, match="2 titles, but got 1"):
        plots.confusion_pair(scores(0), scores(1), NAMES, ["one"])
    with pytest.raises(ValueError, match="recall_bars needs at least one entry"):
        plots.recall_bars({}, NAMES)
    with pytest.raises(ValueError, match="records for 'plain'"):
        plots.layer_flow({"plain": []})
    with pytest.raises(ValueError, match=r"ending in \.png or \.pdf, but got 'figure\.svg'"):
        plots.save(Figure(), tmp_path / "figure.svg")
    with pytest.raises(ValueError, match="forest needs at least one entry"):
        plots.forest({})
    with pytest.raises(ValueError, match=r"shape \(5,\) and 3 class names"):
        plots.recall_by_class_size({"focal": RECALLS}, [3, 2, 1], NAMES[:3])


@pytest.mark.parametrize("display", DISPLAYS)
def test_displays_draw_on_the_axes_given_or_on_their_own(
    display: Callable[..., Axes], tmp_path: Path
) -> None:
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    assert display(left) is left
    assert left.has_data()
    assert not right.has_data()
    alone = display()
    assert alone.figure.axes == [alone]
    for kind in ("png", "pdf"):
        plots.save(alone.figure, tmp_path / f"alone.{kind}")
    assert (tmp_path / "alone.pdf").read_bytes()[:5] == b"%PDF-"
    alone.figure.canvas.draw()
    box = alone.get_tightbbox(alone.figure.canvas.get_renderer())
    inside = alone.figure.bbox.padded(1.0)
    assert (inside.min <= box.min).all()
    assert (box.max <= inside.max).all()


def test_a_pdf_is_the_same_each_time_and_its_fonts_are_truetype(tmp_path: Path) -> None:
    first, second = (
        plots.save(forest().figure, tmp_path / f"{k}.pdf").read_bytes() for k in range(2)
    )
    assert first == second
    assert b"/FontFile2" in first
    assert b"/Type3" not in first
    assert mpl.rcParams["pdf.fonttype"] == 3


def test_forest_shows_estimates_intervals_and_the_margin() -> None:
    axes = forest()
    whiskers = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    zero, interval = whiskers
    assert list(zero) == [0, 0]
    np.testing.assert_allclose(interval, [-2, 4])
    dots = [line for line in axes.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose([d.get_xdata()[0] for d in dots], [1, 3])
    assert len({d.get_marker() for d in dots}) == 2
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    np.testing.assert_allclose([band.x0, band.x1], [-1, 1])
    assert [t.get_text() for t in axes.get_yticklabels()] == list(DIFFERENCES)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first one on top


def test_recall_runs_from_the_largest_class() -> None:
    axes = class_size()
    labels = [t.get_text().split("\n") for t in axes.get_xticklabels()]
    assert labels == [[n, str(s)] for n, s in zip(NAMES[::-1], SIZES, strict=True)]
    means = axes.lines[0].get_ydata()
    np.testing.assert_allclose(means, [np.nan, 50, 70, 80, 80])
    spans = axes.collections[0].get_segments()[1:]
    np.testing.assert_allclose(np.array(spans)[0, :, 1], [40, 60])


def test_bands_span_the_seeds() -> None:
    axes = bands()
    assert axes.lines[0].get_xdata().tolist() == [1, 2]  # not measured before training
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.62, 0.82])
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    np.testing.assert_allclose([corners[:, 1].min(), corners[:, 1].max()], [0.52, 0.92])


def test_reliability_is_that_of_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    targets, logits = calibration()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    right = p.argmax(1) == targets
    accuracy, confidence = calibration_curve(right, p.max(1), n_bins=15)
    count = np.histogram(p.max(1), np.linspace(0, 1, 16))[0]
    known = count[count > 0] >= 10
    drawn_points = diagram().lines[-1].get_xydata() / 100
    np.testing.assert_allclose(drawn_points, np.stack([confidence, accuracy], 1)[known])
