"""What a notebook and a prompt show of our objects, and of a study while it runs."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import termios

import nbclient
import nbformat
import pytest
import torch
from torch import nn

from counterpoise import compare, data, diagnose
from counterpoise.data import Split, Splits
from counterpoise.norms import swap_table
from counterpoise.study import Training

TRAINING = Training(model="mlp", epochs=2, lr=0.1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "photos"
    losses = ("cross_entropy", "focal")
    return compare(
        "digits", losses=losses, seeds=2, out=folder, training=TRAINING, references=False
    )


def test_a_study_is_shown_in_a_line_and_as_a_table(study):
    folder, metric = str(study.folder), "balanced accuracy"
    assert repr(study) == f"Study({folder!r}: 2 variants x 2 seeds, 4 of 4 runs, {metric})"
    shown = study._repr_html_()
    means = [sum(by.values()) / 2 for by in study.scores().values()]
    for words in (*(f">{m:.1%}<" for m in means), ">baseline<", f">{study.verdicts()[0].words}<"):
        assert words in shown
    assert repr(study.records[0]) == "Record('cross_entropy', seed 0, lr 0.1)"
    (verdict,) = study.verdicts()
    begin = f"Verdict('focal' against 'cross_entropy': {verdict.words}; "
    assert re.fullmatch(re.escape(begin) + r"[+-].* points \(.* to .*\)\)", repr(verdict))
    assert len(repr(study.records)) < 300


def test_a_report_is_shown_and_written(study, tmp_path):
    page = study.report()
    assert page.path == study.folder / "report.html"
    assert str(page) == str(page.path)
    assert study.report(tmp_path / "mine.html").path == tmp_path / "mine.html"
    assert page.path.read_bytes() == (tmp_path / "mine.html").read_bytes()


def test_data_are_shown_by_their_sizes():
    split = Split(torch.zeros(5, 3), torch.tensor([0, 0, 2, 2, 2]))
    assert repr(split) == "Split(5 samples (3,) float32)"
    assert "<td" in split._repr_html_()
    assert repr(data.digits()).startswith("Splits('digits': 10 classes, train 1,")
    assert len(repr(data.digits())) < 120
    many = Split(torch.zeros(50, 1), torch.arange(50))
    shown = Splits("many", many, many, tuple(f"class {k}" for k in range(50)), "")._repr_html_()
    assert "class 19<" in shown
    assert "class 20<" not in shown
    assert ">30 more<" in shown


def test_a_diagnosis_and_a_table_are_shown():
    x = torch.randn(64, 4)
    found = diagnose(nn.Linear(4, 2), nn.CrossEntropyLoss(), x, (x[:, 0] > 0).long(), lr=0.5)
    assert repr(found) == "Diagnosis('Will learn.', 0 remedies help)"
    assert ">Linear<" in found._repr_html_()
    table = swap_table(nn.Sequential(nn.BatchNorm2d(64)))
    assert ">GroupNorm(32, 64)<" in table._repr_html_()
    assert repr(table) == "SwapTable(1 layers swapped, 0 left)"


def test_nothing_is_shown_where_nobody_looks(study, capfd):
    compare(study.plan, out=study.folder)
    compare(study.plan, out=study.folder, progress=False)
    assert capfd.readouterr() == ("", "")


def test_lines_are_shown_where_they_are_asked_for(study, capfd):
    compare(study.plan, out=study.folder, progress=True)
    out, told = capfd.readouterr()
    assert out == ""
    first, *between, last = told.splitlines()
    assert first == f"{study.folder.name}: reading the data"
    assert any(
        "10 classes, 1,198 samples to train and validate on (3: 122" in line for line in between
    )
    assert any("4 runs, 4 of them kept from before" in line for line in between)
    assert re.search(r"4 of 4 runs, 100% in \d+ s: focal, seed 1 finished", last)


def test_a_long_silence_is_broken(study, capfd, monkeypatch):
    monkeypatch.setattr("counterpoise.study._progress._LONGEST_SILENCE", 0.0)
    compare("digits", seeds=1, out=study.folder.with_name("b"), training=TRAINING, progress=True)
    assert "cross_entropy, seed 0, epoch 1\n" in capfd.readouterr().err


def test_a_terminal_shows_a_bar(study):
    parent, child = pty.openpty()
    code = f"import counterpoise; counterpoise.compare({str(study.folder / 'plan.toml')!r})"
    termios.tcsetwinsize(child, (40, 100))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=child, stdout=child)
    os.close(child)
    told = b""
    with contextlib.suppress(OSError):  # at the end of the last process
        while piece := os.read(parent, 1000):
            told += piece
    assert process.wait() == 0
    shown = told.decode().split("\r")
    assert any("reading the data   0%|" in line for line in shown)
    assert any("4 of 4 runs 100%|" in line for line in shown)


CELLS = [
    """import counterpoise, torch
from counterpoise import data, norms
from counterpoise.study import Training
study = counterpoise.compare("digits", losses=["cross_entropy", "focal"], seeds=2, out=OUT,
                             training=Training(model="mlp", epochs=2, lr=0.1))""",
    "study",
    "study.verdicts()[0]",
    "study.report()",
    "data.digits()",
    "net = torch.nn.Sequential(torch.nn.BatchNorm2d(64))\nnorms.swap_table(net)",
    "norms.swap_norm(net)",
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the notebook machinery's own
def test_a_real_notebook(tmp_path):
    notebook = nbformat.v4.new_notebook()
    cells = [f"OUT = {str(tmp_path / 'photos')!r}", *CELLS]
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    _, compared, study, verdict, report, digits, table, dropped = [
        c.outputs for c in notebook.cells
    ]
    told = "".join(o["text"] for o in compared)
    assert {o["name"] for o in compared} == {"stderr"}
    assert "Warning" not in told
    assert "10 classes, 1,198 samples" in told
    assert re.search(r"photos: 8 of 8 runs 100%\|█{20}\|", told)
    for outputs, words in (
        (study, "2 variants x 2 seeds, 4 of 4 runs"),
        (verdict, "focal"),
        (report, "<iframe srcdoc="),
        (digits, "10 classes"),
        (table, "GroupNorm(32, 64)"),
    ):
        (output,) = outputs
        assert words in output["data"]["text/html"]
        assert len(output["data"]["text/plain"]) < 250
    assert any("net = swap_norm(net, ...)" in o.get("text", "") for o in dropped)
