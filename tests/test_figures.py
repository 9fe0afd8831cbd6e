"""`counterpoise.figures`: the pictures exist, are large enough, and show the given numbers."""

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

from counterpoise import figures
from counterpoise.metrics import Scores, score

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
    return figures.confusion_pair(scores(0), scores(1), NAMES, ["cross entropy", "focal"])


def bars() -> Figure:
    return figures.recall_bars({"cross entropy": scores(0), "focal": scores(1)}, NAMES)


def curves() -> Figure:
    histories = {"plain": history(0.1, 0.1), "layer": history(0.1, 0.86), "g": history(0.1, 0.861)}
    return figures.accuracy_curves(histories, chance=0.1)


def layers() -> Figure:
    return figures.layer_flow({"plain": flow(0.1), "layer": flow(0.98)})


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
    figures.draw_confusion(axes, confusion, NAMES[: len(confusion)], "title")
    return axes


@pytest.mark.parametrize(
    ("draw", "width", "height"),
    [(pair, 1900, 900), (bars, 1900, 1000), (curves, 1200, 650), (layers, 1900, 650)],
)
def test_saves_a_large_png(
    draw: Callable[[], Figure], width: int, height: int, tmp_path: Path
) -> None:
    path = figures.save(draw(), tmp_path / "new" / "figure.png")
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
    chosen = figures.readable_on(background)
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
    figure = figures.accuracy_curves(histories)
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
    figures.save(figures.layer_flow({"plain": [layer]}), tmp_path / "flow.png")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")
    figure = Figure()

    def fail(target: Path, **_: object) -> None:
        Path(target).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.save(figure, path)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_wrong_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 3\) and 2 class names"):
        figures.draw_confusion(Figure().subplots(), CONFUSION, NAMES[:2], "title")
    with pytest.raises(ValueError, match="2 titles, but got 1"):
        figures.confusion_pair(scores(0), scores(1), NAMES, ["one"])
    with pytest.raises(ValueError, match="recall_bars needs at least one entry"):
        figures.recall_bars({}, NAMES)
    with pytest.raises(ValueError, match="records for 'plain'"):
        figures.layer_flow({"plain": []})
    with pytest.raises(ValueError, match=r"ending in \.png, but got 'figure\.pdf'"):
        figures.save(Figure(), tmp_path / "figure.pdf")
