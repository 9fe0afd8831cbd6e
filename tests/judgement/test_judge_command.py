"""`counterpoise judge`: terminal, JSON, page and exit codes."""

import inspect
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from counterpoise.cli._app import run
from counterpoise.cli._judge import judge

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = str(ROOT / "examples" / "judge" / "results.csv")
WITHOUT_TORCH = f"""
import sys
from counterpoise.cli._app import run
assert run(["judge", {EXAMPLE!r}, "--html", "page.html"]) == 0
assert not {{"torch", "matplotlib", "scipy.stats"}} & set(sys.modules)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def write(name="runs.csv", variants=("base", "new"), datasets=("",), gain=0.05, **more):
    """Five runs of each variant, each `gain` above the one before; returns the file's name."""
    rng = np.random.default_rng(0)
    rows = [
        (v, seed, d, 0.7 + gain * k + rng.normal(0, more.get("noise", 0.005)))
        for d in datasets
        for k, v in enumerate(variants)
        for seed in range(5)
    ]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "dataset", "accuracy"])
    for other in more.get("metrics", ()):
        frame[other] = 1 - frame["accuracy"]
    frame = frame if datasets != ("",) else frame.drop(columns="dataset")
    frame.to_csv(name, index=False)
    return name


def said(capsys, *words, code=0):
    assert run(["judge", *words]) == code
    return capsys.readouterr().out


def test_the_page_of_the_docs_shows_what_the_command_prints(capsys):
    page = (ROOT / "docs" / "judge.md").read_text(encoding="utf-8")
    printed = said(capsys, EXAMPLE).rstrip()
    shown = "\n".join(line.rstrip() for line in printed.splitlines())
    (block,) = re.findall(r"```text\n(10 runs .*?)\n```", page, re.DOTALL)
    assert shown == block
    assert Path(EXAMPLE).read_text() in page


@pytest.mark.parametrize(
    ("gain", "noise", "code"), [(0.05, 0.005, 0), (0, 0.001, 3), (-0.05, 0.005, 4), (0, 0.2, 5)]
)
def test_the_exit_code_is_the_verdict_if_that_is_asked_for(gain, noise, code, capsys):
    name = write(gain=gain, noise=noise)
    said(capsys, name, code=0)
    said(capsys, name, "--exit-code", code=code)
    assert json.loads(said(capsys, name, "--json", "--exit-code", "new", code=code))


def test_the_exit_code_is_that_of_the_best_or_of_the_named_variant(capsys):
    name = write(variants=("poor", "base", "good"))
    said(capsys, name, "--baseline", "base", "--exit-code", code=0)
    said(capsys, name, "--baseline", "base", "--exit-code", "poor", code=4)
    sets = write(datasets=[f"set {k}" for k in range(6)])
    said(capsys, sets, "--exit-code", code=0)
    said(capsys, sets, "--baseline", "new", "--exit-code", code=4)
    said(capsys, write(datasets=("a", "b")), "--exit-code", code=5)


def test_a_failed_run_of_the_variant_has_an_exit_code_of_its_own(capsys):
    name = write(variants=("base", "new", "best"))
    frame = pd.read_csv(name)
    frame.loc[frame["variant"].eq("new") & frame["seed"].eq(3), "accuracy"] = None
    frame.to_csv(name, index=False)
    said(capsys, name, "--exit-code", "NEW", code=6)
    said(capsys, name, "--exit-code", code=0)
    said(capsys, name, "--exit-code", "best", "--chance", "0.7", code=0)
    said(capsys, name, "--exit-code", "best", "--chance", "0.8", code=6)
    frame.loc[frame["variant"].ne("base"), "accuracy"] = None
    frame.to_csv(name, index=False)
    text = said(capsys, name, "--exit-code", code=6)
    assert "new, best: no run finished" in text
    assert "Failed: best: 5 of 5 runs failed" in text


def test_addresses_of_mlflow_stay_as_they_are(monkeypatch):
    seen = []
    monkeypatch.setattr("counterpoise.judgement.judge", lambda files, **_: seen.extend(files))
    with pytest.raises(AttributeError):
        run(["judge", "sqlite:////abs/m.db", "--json"])
    assert seen == ["sqlite:////abs/m.db"]


def test_the_json_has_the_fields_that_are_documented(capsys):
    name = write(datasets=("a", "b"), metrics=("error",))
    found = json.loads(said(capsys, name, "--json"))
    page = (ROOT / "docs" / "judge.md").read_text(encoding="utf-8")
    table = page.partition("## The JSON")[2]
    documented = set(re.findall(r"^\| `([a-z_.]+)`", table, re.MULTILINE))
    assert documented == {p for p in paths(found) if not p.startswith("secondary.")}
    assert found["secondary"][0].keys() == found["primary"][0].keys()
    assert found["schema"] == 1
    assert [f["dataset"] for f in found["primary"]] == ["a", "b"]
    assert {f["metric"] for f in found["secondary"]} == {"error"}
    frame = pd.read_csv(name)
    means = frame.groupby(["dataset", "variant"])["accuracy"].mean()
    row = found["primary"][1]["variants"][1]
    assert row["mean"] == pytest.approx(means["b", "new"])
    verdict = found["primary"][1]["verdicts"][0]
    assert verdict["difference"] == pytest.approx(means["b", "new"] - means["b", "base"])
    assert verdict["low"] < verdict["difference"] < verdict["high"]


def paths(value, before=""):
    """The fields of JSON, a dot between levels; lists of records are as one record."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict) or before == "datasets.ranks":
        return [before]
    own = [before] if before else []
    return own + [p for key, v in value.items() for p in paths(v, f"{before}.{key}".lstrip("."))]


def test_twenty_variants_and_three_metrics_fit_80_columns(capsys):
    names = [f"[b]lr=0.{k:03}, weight_decay=5e-4, norm=group :smile:" for k in range(20)]
    text = said(capsys, write(variants=names, gain=0.001, metrics=("nll", "error")))
    rows = [line for line in text.splitlines() if re.search(r"\d% ± ", line)]
    assert len(rows) == 20
    assert max(map(len, rows)) <= 80
    assert len(text.splitlines()) < 160
    assert "[b]lr=0.000" in text
    assert ":smile:" in text
    table = text.partition("by other metrics")[2]
    assert table.count("[b]lr") == 19
    assert re.search(r"nll +error", table)


@pytest.mark.parametrize("width", [40, 60])
def test_narrow_terminals_show_names_and_verdicts(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    table = said(capsys, write()).partition("±")[2].partition("new:")[0]
    cells = "".join(c for c in table if c.isalpha())
    assert "base" in cells
    assert "new" in cells
    assert "bet" in cells


def test_data_sets_begin_with_what_holds_over_all_of_them(capsys):
    text = said(capsys, write(datasets=[f"set {k}" for k in range(6)]))
    assert "60 runs of 2 variants on 6 data sets, paired by 5 seeds" in text
    words = " ".join(text.split())
    over = words.index("1.00 6, 0, 0 0.031 tends to be better over these 6 data sets")
    assert over < words.index("set 0 runs mean ± 95%")


def test_the_page_is_written_whole_and_shows_names_as_text(capsys):
    name = write(variants=("base", "<script>alert(1)</script>"), metrics=("nll",))
    printed = said(capsys, name, "--html", "new/page.html")
    assert printed.endswith("The page: new/page.html\n")
    page = Path("new/page.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert 'class="verdict better"' in page
    before = Path(name).read_bytes()
    with pytest.raises(ValueError, match="is no page; choose another --html"):
        run(["judge", name, "--html", name])
    assert Path(name).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs a file or folder of runs"),
        (["--exit-code", "new", "runs.csv"], "needs a file or folder"),
        (["runs.csv", "--exit-code", "new", "other"], "--exit-code needs one variant"),
        (["runs.csv", "--exit-code", "nw"], "did you mean 'new'"),
        (["runs.csv", "--exit-code", "base"], "variant besides the baseline must be one of new"),
        (["runs.csv", "--baseline", "bse"], "did you mean 'base'"),
        (["runs.csv", "--margn", "0.01"], "judge has no option --margn"),
        (["runs.csv", "--margin", "0"], "margin must be above 0"),
        (["runs.csv", "--chance", "nan"], "chance must be the score of a guess"),
        (["runs.csv", "--chance", "10"], "chance must be the score of a guess, at most 0.7"),
        (["runs.csv", "--looks", "1.5"], "whole number"),
        (["runs.csv", "--looks", "0"], "looks must be 1 or more"),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_written(words, says, tmp_path):
    write()
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        run(["judge", *words, "--html", "page.html"])
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["runs.csv"]


def test_a_table_can_come_through_a_pipe(capsys, monkeypatch):
    name = write()
    direct = said(capsys, name)
    with open(name, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        assert said(capsys, "-") == direct


def test_the_flags_are_few_and_frozen():
    assert set(inspect.signature(judge).parameters) == {
        *("files", "variant", "seed", "metric", "dataset", "epoch", "baseline", "margin"),
        *("lower_is_better", "looks", "unpaired", "chance", "json", "html", "exit_code"),
    }


def test_it_works_without_torch_and_what_starts_slowly():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium")
@pytest.mark.parametrize("broken", [False, True])
def test_the_page_opens_in_a_browser_without_a_message(broken, capsys, tmp_path):
    """But for a page that breaks its own policy, of which the browser must tell."""
    said(capsys, write(datasets=("a", "b"), metrics=("nll",)), "--html", "page.html")
    page = tmp_path / "page.html"
    if broken:
        page.write_text(page.read_text("utf-8").replace("</main>", "<script>1</script></main>"))
    words = "--headless --no-sandbox --disable-gpu --enable-logging=stderr --dump-dom"
    command = ["chromium", *words.split(), f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "<h1>Is it noise?</h1>" in done.stdout
    assert ("CONSOLE" in done.stderr) is broken
