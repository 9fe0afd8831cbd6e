"""Whatever data, nets, files and exceptions hold is shown as text, on every way out."""

import io
import json
import logging
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from matplotlib.text import Text as Drawn
from rich.console import Console
from rich.live import Live
from rich.progress import Progress
from rich.table import Column, Table
from tests.covering import in_turn

from counterpoise import plots
from counterpoise.cli import _board, _demo, _shown, _streams, _tables
from counterpoise.data import Split, Splits
from counterpoise.doctor import Diagnosis, Numbers, Remedy
from counterpoise.findings import Answers
from counterpoise.metrics import score
from counterpoise.norms import Change, SwapTable
from counterpoise.plots import _paper
from counterpoise.registry import METRICS
from counterpoise.report import Page, _svg
from counterpoise.stats import Interval, compare_variants
from counterpoise.study import AfterTraining, Plan, Study, Training
from counterpoise.study.events import (
    Chosen,
    Epoch,
    Failed,
    Finished,
    Planned,
    Started,
    Unsaved,
    Waiting,
)
from counterpoise.text import one_line, printable, printable_json

OBEYED = ("\x1b[2J", "\x9b2J\r\x07", "\u202eabc", "\ud800", "a\nb", "%s", "")  # by any stream
MARKED_UP = ("[/b]", "[link=file:///etc/passwd]x[/link]", "\\[x]", "a\\", ":warning:", "{task.id}")
NASTY = (
    *OBEYED,
    *MARKED_UP,  # for rich
    "[b c h w]",
    "$x^$",
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "../../x",
    "_hidden",
    "中文 🦆",
    "x" * 300,
)
nasty = pytest.mark.parametrize("name", [*OBEYED, *MARKED_UP, "中文 🦆", "x" * 300], ids=ascii)
nasty_in_a_stream = pytest.mark.parametrize("name", OBEYED, ids=ascii)
anything = st.text(st.characters()) | st.text("[]\\/:${}abc\n \x1b<>&\"'", max_size=12)
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def console(**more):
    return _shown.Output(file=io.StringIO(), width=2000, **more)


def printed(renderable, **more):
    out = console()
    out.print(renderable, **more)
    return out.file.getvalue()


# rich


def as_rows(text):
    """Lines as rich lays them out: tabs are spaces, and none stand at a line's end."""
    return [line.expandtabs(8).rstrip() for line in text.split("\n")]


@given(anything)
def test_what_rich_prints_is_the_printable_text(text):
    found = printed(_shown.shown(text), soft_wrap=True).removesuffix("\n")
    assert as_rows(found) == as_rows(printable(text))


@given(anything)
def test_a_style_changes_no_letter(text):
    assert _shown.shown((text, "red"), text, ("bold", "bold")).plain == printable(text) * 2 + "bold"


@nasty
def test_cells_and_heads_of_tables_are_text(name):
    table = Table(box=None)
    table.add_column(_shown.shown(one_line(name)))
    table.add_column("other")
    table.add_row(_shown.shown(one_line(name)), "1")
    head, row = printed(table).splitlines()
    assert head.startswith(f" {one_line(name)} ")
    assert row.startswith(f" {one_line(name)} ")


@nasty
def test_a_progress_bar_shows_text(name):
    out = console(force_terminal=True)
    bars = Progress(_board._text("{task.description}", Column(no_wrap=True)), console=out)
    bars.add_task(one_line(name))
    with Live(bars, console=out):
        pass
    assert one_line(name) in out.file.getvalue()


def events(name):
    """A study of one run that is finished and one that fails, both of a variant of that name."""
    run = {"label": name, "seed": 0, "trial": {"lr": 0.1}, "stage": "final"}
    runs = {"a": run, "b": run}
    yield Planned(Path(), runs, (), {"a": [name]}, (), dict.fromkeys(runs, 1), 0)
    yield Chosen({name: {"lr": 0.1}})
    yield Started("a")
    yield Waiting("a", name)
    yield Epoch("a", {"epoch": 1, "test_balanced_accuracy": 0.5})
    yield Finished("a")
    yield Failed("b", f"RuntimeError: cannot read {name}")
    yield Unsaved(f"{name}: no space")


@in_turn(name=[*OBEYED, *MARKED_UP], terminal=[False, True])
def test_the_board_shows_text(name, terminal, monkeypatch):
    monkeypatch.setattr(
        _board.Board, "_score", lambda self, run: self._scores.update({name: {0: 0.5}})
    )
    out = console(force_terminal=terminal, color_system=None)
    board = _board.Board(out, "accuracy")
    board.watch(events(name))
    found = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", out.file.getvalue()).replace("\r", "")
    assert not COMMANDS.search(found)
    assert (
        f"{one_line(name + ' · seed 0')}: failed: {one_line('RuntimeError: cannot read ' + name)}"
        in found
    )
    assert f"could not write {one_line(name + ': no space')}" in found
    assert list(board.failed) == [one_line(f"{name} · seed 0")]


def made_up_study(name):
    row = {"label": name, "seed": 0, "trial": {"lr": 0.1}, "stage": "final"}
    return SimpleNamespace(
        labels=(name,),
        plan=Plan("toy", losses=("focal",), seeds=(0,), training=Training(lr=0.1)),
        data={"source": name},
        looks_words="",
        looks=None,
        seen=(),
        finished=False,
        resampled=False,
        test_to_train=0.0,
        records=(),
        failed={"run": f"RuntimeError: {name}"},
        expected={"run": row},
        choices={},
        edited=(),
        of=lambda label: [],
        scores=lambda *_, **__: {name: {}},
        metric=METRICS["balanced_accuracy"],
        verdicts=list,
        best=name,
        references=(),
        reference_scores=lambda *_: {f"{name}, adjusted after training": {0: 0.5}},
        reference_verdicts=list,
        adjusted_verdict=lambda: None,
        after_training=lambda: [AfterTraining(name, 0.5, None, None, None)],
    )


@nasty
def test_show_prints_text(name, monkeypatch):
    finding = SimpleNamespace(code="CP100", text=f"{name} is rare", to_dict=lambda: {"text": name})
    monkeypatch.setattr(_tables.findings, "collect_findings", lambda study: [finding])
    first = Answers(f"Use {name}.", "", f"Better: {name}.", "", name)
    monkeypatch.setattr(_tables.findings, "answers", lambda study: first)
    out = console(color_system=None)
    _tables.show_study(out, made_up_study(name))
    found = out.file.getvalue()
    assert not COMMANDS.search(found)
    for words in (
        f"Data: {name}",
        f"failed {name} · seed 0: RuntimeError: {name}",
        f"CP100 {name} is rare",
        f"Use {name}.",
        f"Better: {name}.",
    ):
        assert one_line(words) in found
    assert "".join(printable(name).split()) in "".join(found.split())
    told = _tables.results_json(made_up_study(name))
    assert not COMMANDS.search(printable_json(told))
    assert json.loads(printable_json(told)) == json.loads(told)
    assert json.loads(told)["findings"] == [{"text": name}]


@given(anything)
def test_json_means_the_same_when_it_is_printable(text):
    written = printable_json(json.dumps({text: text}, ensure_ascii=False))
    assert json.loads(written) == {text: text}
    assert not COMMANDS.search(written)


@nasty
def test_the_demo_prints_text(name):
    scores = {
        "accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "macro_f1": 0.5,
        "recall": [0.5],
        "support": [1],
    }
    story = {
        "data": name,
        "part1": {name: [{"epoch": 0, "test_accuracy": 0.1}]},
        "part2": {name: scores, f"{name}2": scores},
        "class_names": [name],
        "findings": [{"code": "CP300", "text": name}],
        "summary": [name],
        "figures": ["a.png"],
    }
    out = console(color_system=None)
    _demo._show(out, story, name, every=True)
    found = out.file.getvalue()
    assert not COMMANDS.search(found)
    assert f"({one_line(name)})" in found
    assert f"recall of {name} (n=1)" in found or printable(name) != name or "\n" in name
    assert one_line(f"CP300 {name}") in found


# standard error


@nasty_in_a_stream
def test_a_warning_is_a_line(name, capsys):
    _streams._warn(UserWarning(f"{name} was left out"), UserWarning, "x.py", 1)
    told = capsys.readouterr().err
    assert told == f"counterpoise: {one_line(f'{name} was left out')}\n"
    assert not COMMANDS.search(told.removesuffix("\n"))


@nasty_in_a_stream
def test_what_a_library_logs_is_a_line(name, capsys):
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "no %s", (name,), None)
    _streams._Lines().emit(record)
    assert capsys.readouterr().err == f"counterpoise: {one_line(f'no {name}')}\n"


@nasty_in_a_stream
def test_the_doctor_prints_text(name, capsys):
    numbers = Numbers(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    row = {"name": name, "kind": name, "calls": 1, "activation_rms": 1.0, "visible_share": 1.0}
    row |= {"dead_share": 0.0, "grad_norm": 1.0, "update_ratio": 0.1}
    found = Diagnosis("will diverge", True, name, name, name, numbers, (), (row,), (), 1, (name,))
    _shown.write(f"{found}\n")
    told = capsys.readouterr().out
    assert not COMMANDS.search(told)
    assert told.count(printable(name)) >= 4


# Matplotlib


def as_drawn(text):
    """What Matplotlib makes of a text: mathtext, or else the text."""
    words, is_math = Drawn(0, 0, text)._preprocess_math(text)
    assert not is_math
    return words


@given(anything)
def test_what_matplotlib_draws_is_the_printable_text(text):
    assert as_drawn(_paper.plain(text)) == printable(text)


@given(anything)
def test_a_name_is_one_line_of_bounded_length(text):
    found = as_drawn(_paper.plain_name(text))
    assert found == one_line(text) or (
        found.endswith("…") and one_line(text).startswith(found[:-1])
    )
    assert "\n" not in found
    assert len(found) <= 40
    assert as_drawn(_paper.legend_name(text)).strip() == found.strip()
    assert _paper.legend_name(text)[:1] not in ("", "_")


def figures():
    """Every figure with every name at once, of classes and of variants."""
    n, every = len(NASTY), list(NASTY)
    scores = score(range(n), range(n), n)
    layer = {"visible_share": 0.5, "grad_norm": 0.1, "activation_rms": 1.0}
    rows = [{"epoch": e, "test_accuracy": 0.5, "train_accuracy": 0.5} for e in (0, 1)]
    intervals = dict.fromkeys(NASTY, Interval(0.0, 0.1, 0.2))
    bins = dict.fromkeys(NASTY, ([50], [0.5], [0.5]))
    recalls = dict.fromkeys(NASTY, np.ones(n))
    title = f"{OBEYED[0]} $x^$\n{MARKED_UP[0]}"
    yield plots.confusion_matrix(np.eye(n, dtype=int), every, title=title).figure
    yield plots.confusion_pair(scores, scores, every, [title, title])
    yield plots.recall_bars(dict.fromkeys(NASTY, scores), every)
    yield plots.recall_by_class_size(recalls, range(n), every).figure
    yield plots.accuracy_curves(dict.fromkeys(NASTY, rows), title=title)
    yield plots.layer_flow({name: [layer, layer] for name in NASTY})
    yield plots.forest(intervals, baseline="$x^$").figure
    yield plots.reliability(bins).figure
    histories = {name: [rows] for name in NASTY}
    yield plots.training_curves(histories, "test_accuracy", ylabel="$x^$").figure


def test_figures_show_names_as_text(tmp_path):
    """Mathtext would raise while it is drawn; a glyph that the font lacks would warn."""
    for figure in figures():
        plots.save(figure, tmp_path / "figure.png")
        texts = [text.get_text() for text in figure.findobj(Drawn)]
        shown = "\n".join(as_drawn(text) for text in texts if "mathdefault" not in text)  # ticks
        assert [n for n in NASTY if as_drawn(_paper.plain_name(n)) not in shown] == []
        assert not COMMANDS.search(shown)


# HTML


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], {}, ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data):
        self.text += data


@given(anything)
def test_what_html_shows_is_the_printable_text(text):
    page = Elements(f'<b title="{_svg.plain(text)}">{_svg.plain(text)}</b>')
    assert page.tags == ["b"]
    assert page.attributes == {"title": printable(text)}
    assert page.text == printable(text)


def shown_in_notebooks(name):
    """An object of each kind that a notebook shows, with that name wherever there is one."""
    found = SwapTable((Change(name, name, name, name),))
    yield found, 4
    numbers = Numbers(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    row = {"name": name, "kind": name, "calls": 1, "activation_rms": 1.0}
    remedies = (Remedy(name, name, True, numbers, 1),)
    yield Diagnosis(name, True, name, name, name, numbers, remedies, (row,), (), 1, (name,)), 8
    split = Split(torch.zeros(2, 3), torch.tensor([0, 1]))
    yield Splits(name, split, split, (name, "b"), name), 1
    yield compare_variants({"a": {0: 0.1, 1: 0.2}, name: {0: 0.3, 1: 0.5}}, "a")[0], 1
    data = {"test_counts": [1, 1]}
    plan = Plan("digits", losses=("cross_entropy", "focal"))
    yield Study(Path(name), plan, data, (), (), {}, {}, {}, {}), 0


@nasty
def test_a_notebook_shows_text(name):
    for thing, times in shown_in_notebooks(name):
        page = Elements(thing._repr_html_())
        assert not COMMANDS.search(thing._repr_html_())
        assert {*page.tags} <= {"table", "tr", "th", "td", "p", "b", "div"}
        assert page.text.count(printable(name)) >= times, type(thing)
        assert "color" not in thing._repr_html_()
        assert not COMMANDS.search(repr(thing))


def test_a_notebook_shows_a_page_in_a_frame(tmp_path):
    path = tmp_path / '"><script>.html'
    path.write_text("<p title='&amp;\"'>&lt;b&gt;</p><script>alert(1)</script>", encoding="utf-8")
    frame = Elements(Page(path)._repr_html_())
    assert frame.tags == ["iframe"]
    assert frame.attributes["srcdoc"] == path.read_text(encoding="utf-8")
    assert frame.attributes["sandbox"] is None  # nothing is allowed, no script
    assert frame.text == ""


@given(anything)
def test_the_template_and_the_charts_escape_in_that_way(text):
    from counterpoise.report import _html

    template = _html.template("page.html.j2").environment.from_string(
        "<p title='{{ a }}'>{{ a ~ a|upper }}{{ m }}"
    )
    page = Elements(template.render(a=text, m=Markup("<i>")))
    assert page.tags == ["p", "i"]
    assert page.attributes == {"title": printable(text)}
    assert page.text == printable(text + text.upper())
    chart = Elements(_svg.picture(1, 1, [_svg.text(0, 0, text)], text, text))
    assert chart.tags == ["svg", "title", "desc", "text"]
    assert chart.text == printable(text) * 3


def test_colours_and_markup_of_our_own_still_work():
    out = console(force_terminal=True, color_system="standard")
    out.print(_shown.shown(("failed:", "red"), " x"))
    assert out.file.getvalue() == "\x1b[31mfailed:\x1b[0m x\n"
    assert isinstance(out, Console)


def test_warnings_of_missing_glyphs_alone_are_silenced(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plots.save(plots.forest({"中": Interval(0.0, 0.1, 0.2)}).figure, tmp_path / "a.png")
    assert caught == []


@pytest.mark.parametrize(
    ("metric", "scores", "said"),
    [
        ("accuracy", [0.424, 0.604], "51.4% (0.0 to 100.0)"),
        ("accuracy", [0.97, 0.99, 0.995], "98.5% (95.2 to 100.0)"),
        ("accuracy", [0.80, 0.82, 0.84], "82.0% ± 5.0"),
        ("matthews", [0.9, 0.2], "0.550 (-1.000 to 1.000)"),
        ("nll", [0.1, 0.2], "0.150 nats (0.000 to 0.785)"),
        ("expected_cost", [0.1, 0.2], "0.150 ± 0.635"),
    ],
)
def test_an_interval_ends_at_what_is_possible(metric, scores, said):
    assert _board.mean_and_interval(METRICS[metric], scores) == said
