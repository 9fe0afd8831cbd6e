"""The command line, as a user meets it."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from counterpoise.findings import CODES


def call(*words, cwd, **more):
    command = [sys.executable, "-m", "counterpoise", *words]
    environment = os.environ | {"COLUMNS": "120"} | more
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


def test_the_flags_of_compare_are_few_and_frozen():
    """Everything else is in plan.toml or --set; a new flag needs a better reason than a setting."""
    from counterpoise.cli._compare import compare

    found: dict[str, set[str]] = {}
    for name, p in inspect.signature(compare, eval_str=True).parameters.items():
        panels = [g.name for m in getattr(p.annotation, "__metadata__", ()) for g in m.group or ()]
        found.setdefault("".join(panels), set()).add(name)
    assert len(found[""]) <= 15  # on the first screen
    assert found == {
        "": {
            *("data", "losses", "norms", "samplers", "classical", "vary", "design", "tune"),
            *("model", "seeds", "epochs", "time", "target", "out", "set"),
        },
        "Reading the data": {
            *("test", "split", "group", "drop", "keep", "min_samples", "small", "missing_labels"),
            *("image_size", "resize", "imbalance"),
        },
        "Nets": {"lr", "batch_size", "features", "weights", "head"},
        "Runs and output": {"references", "workers", "engine", "dry_run", "quiet", "json"},
    }


@pytest.mark.slow
def test_compare_show_and_go_on(tmp_path):
    words = "compare digits --losses cross_entropy focal --model mlp --epochs 2 --lr 0.1 --seeds 2"
    first = call(*words.split(), cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "[8/8]" in first.stdout  # two references a seed
    assert "logistic regression on pixels" in first.stdout
    assert "±: 95% interval of the mean over seeds" in first.stdout
    assert "CP" in first.stdout
    told = first.stdout.splitlines()
    assert "For focal the seeds so far say too little: run 5" in first.stdout
    assert told[-1].endswith("answers to every test sample: studies/digits/predictions.csv")
    narrow = call("show", "studies/digits", cwd=tmp_path, COLUMNS="80").stdout.splitlines()
    rows = [line for line in narrow if re.match(" cross_entropy  .*±", line)]
    assert max(map(len, rows)) <= 80
    assert "2/2" in rows[0]
    assert re.search(r"% +[-+][\d.]+ ±[\d.]+ +[-+][\d.]+ ±[\d.]+ +[\d.]+% \([\d.]+ to", rows[1])
    assert "as it costs 2 nets at" in " ".join(narrow)
    again = call(*words.split(), cwd=tmp_path)
    assert again.stdout.count("4 of 4 runs are kept from before") == 2
    quiet = call(*words.split(), "--quiet", cwd=tmp_path)
    shown = call("show", "studies/digits", cwd=tmp_path)
    assert shown.stdout in quiet.stdout
    told = json.loads(call("show", "studies/digits", "--json", cwd=tmp_path).stdout)
    assert told == json.loads(call(*words.split(), "--json", cwd=tmp_path).stdout)
    assert [v["label"] for v in told["variants"]] == ["cross_entropy", "focal"]
    assert told["finished"]
    assert {len(v["scores"]) for v in told["variants"]} == {2}
    labels = [r["label"] for r in told["references"]]
    assert labels[0] == "logistic regression on pixels"
    assert (
        labels[-1]
        == "cross_entropy, adjusted after training"
        == told["adjusted_verdict"]["variant"]
    )
    assert [v["variant"] for v in told["reference_verdicts"]] == labels
    after = told["after_training"]
    assert [row["label"] for row in after] == ["cross_entropy", "focal"]
    for row in after:
        assert row["adjusted"]["n"] == row["normalized"]["n"] == len(row["ensemble"]["seeds"]) == 2
        assert row["ensemble_note"].startswith("not comparable to single runs")
    assert {v["baseline"] for v in told["reference_verdicts"]} == {told["best"]}


def test_a_code_is_explained_and_all_are_listed(tmp_path):
    told = call("explain", "cp226", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("CP226  still improving when training ended (caution)")
    assert "What to do: More epochs, for all variants." in told.stdout
    linked = call("explain", " cp340 ", cwd=tmp_path).stdout
    assert "a family of its own (statistics: docs/statistics.md)." in " ".join(linked.split())
    listed = call("explain", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(CODES)


@pytest.mark.slow
def test_a_plan_is_written_edited_and_run(tmp_path):
    written = call("plan", "--data", "digits", "--losses", "cross_entropy", "focal", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    path = tmp_path / "plan.toml"
    text = path.read_text()
    for old, new in (
        ("seeds = []", "seeds = 1"),
        ('model = "auto"', 'model = "mlp"'),
        ("epochs = 0 ", "epochs = 1 "),
        ("grid = []", "grid = [0.01, 0.1]"),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    done = call("compare", "plan.toml", "--out", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 runs to choose learning rates, then 2 runs to compare" in done.stdout
    assert "chosen: cross_entropy: lr 0." in done.stdout
    assert call("plan", cwd=tmp_path).returncode == 2  # it is not overwritten
    assert path.read_text() == text


def test_a_run_that_fails_makes_the_exit_code_1(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def net(norm, shape, classes):\n    raise OSError('no net [/data/x] [b c] \\x1b[2J')\n"
    )
    words = "compare digits --losses focal --model mine:net --epochs 1 --lr 0.1 --seeds 1"
    words += " --no-references"
    done = call(*words.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert "OSError: no net [/data/x] [b c] \\x1b[2J" in done.stdout
    assert "0 of 1 runs are finished" in done.stdout


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "counterpoise", "compare", "digits", "--model", "mlp"]
    command += ["--epochs", "100000", "--lr", "0.1", "--out", "here"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("here/runs/*/checkpoint.safetensors")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told == "counterpoise: stopped; finished runs are kept, the same command resumes\n"


SHOW = """
import sys
from counterpoise.cli import main
sys.argv = ["counterpoise", "show", "studies/digits"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
assert "torch" not in sys.modules, "torch was imported"
"""


@pytest.mark.slow
def test_show_works_without_torch(tmp_path):
    words = "compare digits --model mlp --epochs 1 --lr 0.1 --seeds 1 --quiet"
    assert call(*words.split(), cwd=tmp_path).returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_doctor_is_not_silent_while_it_tries(tmp_path, monkeypatch, capsys):
    from counterpoise.cli import _shown

    monkeypatch.setattr(_shown, "_PATIENCE", 0.05)
    with _shown.waiting("training copies"):
        time.sleep(0.5)
    with _shown.waiting("quick"):
        pass
    assert capsys.readouterr() == ("", "training copies\n")
