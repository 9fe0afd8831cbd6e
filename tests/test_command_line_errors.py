"""Whatever goes wrong ends in one line and its exit code, and leaves nothing half written."""

import dataclasses
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.covering import in_turn
from tests.faults.tiny import in_this_process
from tests.study.small import QUICK, plan, run

import counterpoise
from counterpoise.cli import main
from counterpoise.cli._errors import explain
from counterpoise.registry import name_of, resolve
from counterpoise.user_code import source_file

PATIENCE = 20  # seconds
COMPARE = ["--model", "mlp", "--epochs", "1", "--seeds", "1", "--lr", "0.1", "--no-references"]
not_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")

READING = "reading the data\n"  # said after a second


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study of two runs."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    with in_this_process():
        run(plan(seeds=(0,), training=dataclasses.replace(QUICK, epochs=1)), folder)
    return folder


@pytest.fixture
def study(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "study")


def call(*words, cwd, stdout=subprocess.PIPE, before="", **more):
    """Call the command in a process of its own; `before` is shell code that runs before it."""
    command = [
        "sh",
        "-c",
        f'{before}\nexec "$@"',
        "sh",
        sys.executable,
        "-m",
        "counterpoise",
        *words,
    ]
    return subprocess.run(
        command,
        cwd=cwd,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env=os.environ | {"COLUMNS": "120"} | more,
    )


@pytest.fixture
def answer(monkeypatch, capsys, tmp_path):
    """Call the command in this process, in the test's folder; return exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", None)  # put back behind the test
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine", raising=False)  # of another test

    def call_main(*words):
        monkeypatch.setattr(sys, "argv", ["counterpoise", *words])
        before = set(sys.modules)
        with pytest.raises(SystemExit) as stop:
            main()
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
                del sys.modules[name]
        return stop.value.code, *capsys.readouterr()

    return call_main


def tree(folder):
    """Every name below a folder with what it holds, but what Python compiles."""
    return {
        path.relative_to(folder): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else None
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def refused(answer, folder, *words):
    """Return the line with which bad words are refused, after seeing that there is no more."""
    before, begin = tree(folder), time.monotonic()
    code, out, told = answer(*map(str, words))
    assert time.monotonic() - begin < PATIENCE
    assert re.fullmatch(r"counterpoise: [^\n]+\n", told), told
    assert (code, out.removeprefix(READING)) == (2, ""), told
    assert "Traceback" not in told
    assert tree(folder) == before
    return told


# Words and numbers that are wrong


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["demo", "--quik"], "--quick"),
        (["demo", "--seed", "-1"], "--seed must be >= 0"),
        (["demo", "--workers", "0"], "--workers >= 1"),
        (["dmo"], "demo"),
        (["compare", "digits", "--loses", "focal"], "--losses"),
        (["compare", "digits", "--losses", "focl"], "did you mean 'focal'"),
        (["compare", "digits", "--losses", "ce", "la"], "did you mean 'cross_entropy'"),
        (["compare", "digits", "--losses", "bs+drw"], "did you mean 'balanced_softmax'"),
        (["compare", "digits", "--norms", "none", "grup"], "did you mean 'group'"),
        (["compare", "digits", "--lr", "fast"], "a number or 'auto'"),
        (["compare", "digits", "--imbalance", "exponential:much"], "exponential:100"),
        (["compare", "digits", "--imbalance", "expo:10"], "did you mean 'exponential'"),
        (["compare", "digits", "--workers", "0"], "--workers must be >= 1"),
        (["compare", "digits", "--losses", "mine:lss"], "did you mean 'mine:loss'"),
        (["compare", "digits", "--model", "absent:net"], "absent"),
        (["doctor", "mine:net", "digits"], "must take inputs of shape (512, 1, 8, 8)"),
        (["compare", "digit"], "did you mean 'digits'"),
        (["compare", "digits", "--model", "mlp", "--norms", "layer2d"], "needs an input"),
        (["compare", "wrong.toml"], "gama"),
        (["compare", "no/such/folder"], "no/such/folder"),
        (["compare", "digits", "--imbalance", "step:5000"], "factor"),
        (["compare", "plan.toml"], "plan.toml must be a plan that can be read"),
        (["compare", "plan.toml", "--seeds", "3"], "--seeds cannot go with a plan"),
        (["compare", "plan.toml", "--set", "lr=1"], "--set training.lr cannot go with a plan"),
        (["compare", "digits", "--vary", "weight_decay"], "must be like weight_decay=5e-4,5e-3"),
        (["compare", "digits", "--vary", "wd=1,2"], "did you mean"),
        (["compare", "digits", "--vary", "mix=mixup,mixpu"], "did you mean 'mixup'"),
        (["compare", "digits", "--vary", "ema=0,"], "ema"),
        (["compare", "digits", "--vary", "ema=0,0.9", "--design", "one"], "'one_by_one'"),
        (["compare", "digits", "--tune", "loss=focal,poly"], "compared, not tuned"),
        (["compare", "digits", "--set", "weigth_decay=1"], "did you mean 'training.weight_decay'"),
        (["compare", "digits", "--set", "ema"], "--set must be like"),
        (["compare", "digits", "--epochs", "2", "--set", "epochs=3"], "must be said once"),
        (["show", "nowhere"], "must be the folder of a study"),
        (["judge"], "needs a file or folder of runs"),
        (["explain", "CP2226"], "did you mean CP226?"),
    ],
)
def test_bad_input_is_one_line(words, says, answer, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nnet = torch.nn.Linear(3, 10)\ndef loss(counts): return None\n"
    )
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('data = "digits"\n[[variant]]\nloss = "focal"\nsettings = { gama = 1.0 }\n')
    assert says in refused(answer, tmp_path, *words)


@pytest.mark.parametrize("words", [("demo", "--quick"), ("compare", "digits")], ids=" ".join)
def test_a_folder_that_cannot_be_written_is_told(words, answer, tmp_path):
    (tmp_path / "file").touch()
    code, _, told = answer(*words, "--out", "file/below")
    assert (code, told.count("\n")) == (2, 1)
    assert "must be a folder that can be written" in told
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# Every path that a command takes, and every way in which a path can be bad.


def bad_paths(folder):
    (folder / "file").write_text("content")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.toml")
    (folder / "folder.toml").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "loop.toml").symlink_to("loop.toml")
    (folder / "zero.toml").symlink_to("/dev/zero")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "not_text.toml").write_bytes(b"\xff\xfe\x00")


NAMES = {
    "below a file": "file/below",
    "pipe": "pipe",
    "endless": "/dev/zero",
    "full": "/dev/full",
    "too long": "x" * 300,
    "longer still": "x/" * 3000,
    "NUL": "a\0b",
    "nobody's home": "~nosuchuser/x",
    "link to itself": "loop",
    "empty": "",
}
ABSENT = {"missing": "nowhere", "dangling": "dangling", "not UTF-8": "\udcff"}
PLANS = {
    "missing": "nowhere.toml",
    "folder": "folder.toml",
    "pipe": "pipe.toml",
    "link to itself": "loop.toml",
    "endless": "zero.toml",
    "not text": "not_text.toml",
    "too long": f"{'x' * 300}.toml",
}
TO_READ = NAMES | ABSENT | {"file": "file", "folder": "folder"}
TO_WRITE = NAMES | {"folder": "folder", "dangling": "dangling"}
TO_MAKE = NAMES | {"file": "file", "dangling": "dangling"}  # a folder
PLACES = {
    ("show", "{}"): TO_READ,
    ("report", "{}"): TO_READ,
    ("report", "study", "--out", "{}"): TO_WRITE,
    ("plan", "{}"): TO_WRITE | {"file": "file", "missing folder": "nowhere/plan.toml"},
    ("compare", "{}"): TO_READ | PLANS,
    ("compare", "digits", "--out", "{}"): TO_MAKE,
    ("doctor", "mlp", "{}"): TO_READ,
}
EVERYWHERE = {"pipe", "NUL"}  # and every other at every second place
CASES = [
    pytest.param([part.format(path) for part in words], id=f"{' '.join(words)} {kind}")
    for place, (words, paths) in enumerate(PLACES.items())
    for turn, (kind, path) in enumerate(paths.items())
    if kind in EVERYWHERE or kind in PLANS or (turn + place) % 2
]


@pytest.mark.parametrize("words", CASES)
def test_a_bad_path_is_one_line(words, answer, tmp_path, request):
    bad_paths(tmp_path)
    if "study" in words:
        request.getfixturevalue("study")
    refused(answer, tmp_path, *words)


@not_root
@pytest.mark.parametrize(
    "words",
    [
        ("show", "locked/study"),
        ("report", "study", "--out", "locked/page.html"),
        ("plan", "locked/plan.toml"),
        ("compare", "locked"),
        ("compare", "locked.toml"),
        ("compare", "digits", "--out", "locked/study"),
    ],
)
def test_what_may_not_be_read_or_written_is_one_line(words, answer, study, tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "locked.toml").touch(mode=0)
    assert "ermission" in refused(answer, tmp_path, *words)


# Numbers


COUNTED = [
    ("compare", "digits", "--seeds"),
    ("compare", "digits", "--epochs"),
    ("compare", "digits", "--batch-size"),
    ("compare", "digits", "--workers"),
    ("demo", "--seed"),
    ("demo", "--workers"),
    ("doctor", "mlp", "digits", "--seed"),
]


@pytest.mark.parametrize("words", COUNTED, ids=" ".join)
def test_a_count_is_not_below_0(words, answer, tmp_path):
    refused(answer, tmp_path, *words[:-1], f"{words[-1]}=-1")


@in_turn(number=["1.5", "1e3", "x", "", "nan", "0x10", "1_000", "9" * 30], words=COUNTED)
def test_a_count_is_a_whole_number(words, number, answer, tmp_path):
    refused(answer, tmp_path, *words[:-1], f"{words[-1]}={number}")


@pytest.mark.parametrize(
    "words",
    [
        ("compare",),
        ("compare", "digits", "--lr", "nan"),
        ("compare", "digits", "--imbalance", "exponential:inf"),
        ("doctor", "mlp", "digits", "--lr", "x"),
        ("doctor", "mlp", "digits", "--optimizer", "[/b]"),
        ("doctor", "mlp", "digits", "--loss", "\x1b[2J"),
        ("doctor", "mlp", "digits", "--norm", "a\nb"),
        ("[/b]",),
        ("\x1b[2J",),
    ],
    ids=ascii,
)
def test_words_that_are_not_understood_are_one_line(words, answer, tmp_path):
    told = refused(answer, tmp_path, *words)
    assert "\x1b" not in told


# Where a report may be written


@pytest.mark.parametrize(
    "out",
    [
        "study/study.json",
        "study/new.json",
        "study/.lock",
        "study/.new",
        "study/runs",
        "study/runs/{run}/run.json",
        "study/runs/{run}/new.html",
        "study/runs/new.html",
        "study/figures/new.html",
        "study/nowhere/../study.json",
        "beside/study.json",
        "beside/runs/{run}/weights.safetensors",
        "linked",
        "hard",
        "mine.csv",
        "{tmp}/study/study.json",
        "study",
        "study/..",
        "pipe",
        "/dev/stdout",
    ],
)
def test_a_report_replaces_nothing_but_a_report(out, answer, study, tmp_path):
    (tmp_path / "beside").symlink_to("study")
    (tmp_path / "linked").symlink_to("study/study.json")
    os.link(study / "study.json", tmp_path / "hard")
    (tmp_path / "mine.csv").write_text("precious")
    os.mkfifo(tmp_path / "pipe")
    (run, *_) = sorted(p.name for p in (study / "runs").iterdir())
    told = refused(answer, tmp_path, "report", "study", "--out", out.format(run=run, tmp=tmp_path))
    assert "--out" in told


@pytest.mark.parametrize("out", ["study/report.html", "study/new.html", "new/page", "beside/a.htm"])
def test_a_report_may_be_written_beside_what_a_study_is_made_of(out, answer, study, tmp_path):
    (tmp_path / "beside").symlink_to("study")
    code, told, errors = answer("report", "study", "--out", out)
    assert (code, errors) == (0, "")
    assert told == f"The report: {out}\n"
    assert (tmp_path / out).read_text().startswith("<!DOCTYPE html>")


def test_a_report_can_be_written_twice(answer, study):
    assert [answer("report", "study")[0] for _ in range(2)] == [0, 0]


# A plan


def test_a_plan_is_written_whole_or_not_at_all(answer, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left" in refused(answer, tmp_path, "plan", "p.toml")
    assert answer("plan", "p.toml")[0] == 0
    assert "exists already" in refused(answer, tmp_path, "plan", "p.toml")


# Modules of the user's


MODULES = {
    "raises": (
        "x = 1\nraise RuntimeError('cannot read [/data/x]')\n",
        "RuntimeError: cannot read [/data/x]",
        2,
    ),
    "exits": ("import sys\nsys.exit(0)\n", "SystemExit: 0", 2),
    "is_wrong": ("def f(:\n", "SyntaxError: invalid syntax", 1),
    "is_base": ("class Stop(BaseException): pass\n\nraise Stop('now')\n", "Stop: now", 3),
    "lacks": ("\nimport surely_not_there\n", "No module named 'surely_not_there'", 2),
    "is_deep": ("def f():\n    f()\nf()\n", "RecursionError: maximum recursion depth", 2),
    "opens": ("open('/nowhere')\n", "FileNotFoundError: [Errno 2]", 1),
    "is_mute": ("class E(Exception):\n  def __str__(self): return 1\nraise E\n", "E: (its text", 3),
    "commands": ("raise ValueError('\\x1b[2J\\n\\u202e')\n", "\\x1b[2J \\u202e", 1),
    "asks": ("raise MemoryError\n", "MemoryError", 1),
}


@in_turn(
    name=MODULES,
    words=[
        ("compare", "{}:x"),
        ("compare", "digits", "--model", "{}:x"),
        ("compare", "digits", "--losses", "{}:x"),
        ("doctor", "{}:x", "digits"),
        ("doctor", "mlp", "digits", "--loss", "{}:x"),
    ],
)
def test_what_a_module_raises_is_one_line_with_its_place(name, words, answer, tmp_path):
    source, what, line = MODULES[name]
    (tmp_path / f"{name}.py").write_text(source)
    told = refused(answer, tmp_path, *(word.format(name) for word in words))
    assert what in told
    assert f"({name}.py:{line})" in told


CALLED = {
    "raises": "raise KeyError('[/b]')",
    "exits": "raise SystemExit(0)",
    "is_base": "raise BaseException('b')",
    "breaks": "raise BrokenPipeError",
    "asks": "raise MemoryError('1 TB')",
    "is_deep": "return make()",
}


@in_turn(name=CALLED, words=[("compare", "{}:make"), ("doctor", "{}:make", "digits")])
def test_what_a_function_raises_is_one_line(name, words, answer, tmp_path):
    (tmp_path / f"{name}.py").write_text(f"def make():\n    {CALLED[name]}\n")
    told = refused(answer, tmp_path, *(word.format(name) for word in words))
    assert f"{name}.py:2" in told or name == "asks"


@pytest.mark.parametrize(
    "words",
    [
        ("doctor", "os:environ", "digits"),
        ("doctor", "os:getcwd", "digits"),
        ("doctor", "mlp", "os:environ"),
        ("doctor", "mlp", "digits", "--loss", "os:environ"),
        ("doctor", "resnet8", "digits", "--norm", "os:environ"),
        ("compare", "os:environ"),
        ("compare", "digits", "--model", "os:environ"),
        ("compare", "digits", "--losses", "os:environ"),
        ("compare", "digits", "--norms", "os:environ", "--model", "resnet8"),
        ("compare", "digits", "--samplers", "os:environ"),
    ],
    ids=" ".join,
)
def test_what_a_word_names_is_not_shown(words, answer, tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERPOISE_SECRET", "hunter2")
    words = [*words, "--epochs", "1", "--seeds", "1"] if words[0] == "compare" else words
    if words[0] == "compare" and words[1] == "digits":
        words = [*words, "--lr", "0.1"]
    code, out, told = answer(*words)
    assert "hunter2" not in told + out
    assert code in (1, 2)
    assert "Environ" in told + out or words[1] == "os:getcwd"


def test_a_thing_that_cannot_be_imported_is_not_shown_either():
    secret = type("Secret", (), {"__module__": "__main__", "__repr__": lambda self: "hunter2"})()
    with pytest.raises(ValueError, match="a Secret must be importable"):
        name_of(secret)


def test_words_that_name_no_module_have_no_source():
    for word in (":x", ".mine:x", "surely_not_there.mine:x", "a\0b:x"):
        assert source_file(word.partition(":")[0]) is None
        with pytest.raises(ValueError, match="must name something that can be imported"):
            resolve("loss", word, {})


def test_a_package_that_raises_has_no_source(tmp_path, monkeypatch):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "__init__.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "packed" / "net.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ValueError, match=r"SystemExit: 0 \(packed/__init__.py:1\)"):
        source_file("packed.net")


# Debugging


@pytest.mark.parametrize("place", [0, 3])
def test_debug_shows_the_whole_traceback_wherever_it_stands(place, answer, tmp_path):
    (tmp_path / "raises.py").write_text("def f():\n    raise RuntimeError('\\x1b[2J')\nf()\n")
    words = ["compare", "raises:x", "--quiet"]
    words.insert(place, "--debug")
    code, _, told = answer(*words)
    assert code == 2
    assert told.startswith("Traceback")
    assert 'raises.py", line 2, in f' in told
    assert told.splitlines()[-1].startswith("counterpoise: ")
    assert "\x1b" not in told


@pytest.mark.parametrize(("value", "shown"), [("1", True), ("0", False), ("", False)])
def test_the_environment_can_ask_for_tracebacks(value, shown, answer, monkeypatch):
    monkeypatch.setenv("COUNTERPOISE_DEBUG", value)
    assert ("Traceback" in answer("show", "nowhere")[2]) == shown


# What nobody foresaw


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Make `show` fail in our own code, in a way that is not foreseen."""
    monkeypatch.setattr(counterpoise.study, "open_study", {}.__getitem__)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()


def test_a_bug_is_one_line_and_its_traceback_is_kept(broken, answer, tmp_path):
    code, out, told = answer("show", "[/b]")
    assert (code, out) == (70, "")
    (file,) = (tmp_path / "tmp").iterdir()
    assert told.startswith("counterpoise: this is a bug of counterpoise's: KeyError: ")
    assert told.endswith(f"in {file}\n")
    assert told.count("\n") == 1
    assert "Traceback" in file.read_text()
    assert "in show" in file.read_text()
    assert file.stat().st_mode & 0o77 == 0


def test_a_bug_whose_traceback_cannot_be_kept_is_one_line_too(broken, answer, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    code, out, told = answer("show", "x")
    assert (code, out, told.count("\n")) == (70, "", 1)
    assert "--debug" in told


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 2, "not enough memory"),
        (MemoryError("Unable to allocate 8 TiB"), 2, "8 TiB"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "enough memory"),
        (RuntimeError("CUDA out of memory. Tried to"), 2, "not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device"),
        (PermissionError(13, "Permission denied", "a\nb"), 2, "a\nb: Permission denied"),
        (OSError(5, "Input/output error", b"\xff"), 2, "\udcff: Input/output error"),
        (FileNotFoundError("FashionMNIST was not found"), 2, "FashionMNIST was not found"),
        (OSError(), 2, "OSError"),
        (OSError(9, "Bad file descriptor", 7), 2, "7: Bad file descriptor"),
        (SystemExit(None), 0, ""),
        (SystemExit(3), 3, ""),
        (SystemExit("why"), 2, "why"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "install"),
        (ImportError("no name x", name="counterpoise.cli"), 70, "bug"),
        (AssertionError(), 70, "AssertionError"),
        (KeyboardInterrupt(), 130, "stopped"),
        (BrokenPipeError(32, "Broken pipe"), 2, "Broken pipe"),  # of a worker's, not of the output
    ],
    ids=repr,
)
def test_every_kind_of_error_has_its_code(error, code, says, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = explain(error)
    assert found[0] == code
    assert says in found[1]


@pytest.mark.parametrize(
    "words", [("compare", "fashion_mnist"), ("doctor", "resnet8", "fashion_mnist")], ids=" ".join
)
def test_data_that_cannot_be_had_are_one_line(words, answer, tmp_path, monkeypatch):
    from counterpoise.data import _fashion_mnist

    usual = {"cache": tmp_path / "cache", "debian": None, "mirrors": ("http://127.0.0.1:9/",)}
    for name, value in usual.items():
        monkeypatch.setitem(_fashion_mnist.fashion_mnist.__kwdefaults__, name, value)
    told = refused(answer, tmp_path, *words)
    assert "FashionMNIST was not found" in told
    assert "dataset-fashion-mnist" in told


def test_a_disk_that_is_full_before_the_first_run_is_one_line(answer, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, out, told = answer("compare", "digits", *COMPARE, "--out", "new")
    assert (code, out.removeprefix(READING)) == (2, "")
    assert re.fullmatch(r"counterpoise: [^\n]*No space left on device[^\n]*\n", told)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] in ([], [".lock"])


def test_memory_that_is_not_there_is_one_line(answer, tmp_path):
    (tmp_path / "large.py").write_text(
        "import torch\n\ndef net():\n    return torch.nn.Linear(10**7, 10**7)\n"
    )
    told = refused(answer, tmp_path, "doctor", "large:net", "digits")
    assert "allocate" in told
    assert "large.py:4" in told


def test_a_line_is_not_endless(answer, tmp_path):
    assert len(refused(answer, tmp_path, "show", "x" * 100_000)) < 2100


# Streams, in real processes


def test_a_closed_pipe_ends_silently(study):
    for words in ("show study", "show study --json", "--help"):
        read, write = os.pipe()
        os.close(read)
        done = call(*words.split(), cwd=study.parent, stdout=write)
        os.close(write)
        assert (done.returncode, done.stderr) == (141, ""), words


@pytest.mark.parametrize("words", ["show study", "show study --json", "--help"])
def test_a_full_output_is_one_line(words, study):
    with open("/dev/full", "w") as full:
        done = call(*words.split(), cwd=study.parent, stdout=full)
    why = "standard output cannot be written: No space left on device"
    assert (done.returncode, done.stderr) == (2, f"counterpoise: {why}\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_are_closed_take_everything(closed, study):
    done = call("show", "study", cwd=study.parent, before=f"exec {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert call("show", "nowhere", cwd=study.parent, before=f"exec {closed}").returncode == 2


def test_letters_that_a_stream_lacks_are_written_out(study):
    done = call("show", "study", cwd=study.parent, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    done = call("show", "中文", cwd=study.parent, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "\\u4e2d" in done.stderr


@pytest.mark.parametrize("after", [0.1, 0.4, 1.6])
def test_ctrl_c_in_the_first_seconds_is_one_line(after, tmp_path):
    """As a terminal sends it: to all processes; and after Python itself has started."""
    code = "print('x', flush=True); from counterpoise.cli import main; main()"
    command = [sys.executable, "-c", code, "compare", "digits", *COMPARE[:2], "--epochs", "10000"]
    process = subprocess.Popen(
        [*command, "--lr", "0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout.read(1) == b"x"
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told.count(b"\n")) == (130, 1), told.decode()


@pytest.mark.parametrize(
    "module",
    ["counterpoise.cli._streams", "cyclopts", "numpy", "torch._C", "torch.nn", "torch._dynamo"],
)
def test_ctrl_c_amid_the_imports_is_one_line(module, tmp_path):
    """Twice, as one does who is impatient; Python says which import it has done."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "counterpoise", "doctor", "mlp", "digits"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while (line := process.stderr.readline()) and line.split("|")[-1].strip() != module:
        pass
    assert line, f"{module} was not imported"
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    _, told = process.communicate(timeout=60)
    told = [line for line in told.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, told) == (130, ["counterpoise: stopped"])


def test_an_exec_that_ctrl_c_stops_does_not_change_the_exit_code(tmp_path):
    """Of `python -m`: CPython notes it, and would end by the signal, which is no exit code."""
    code = """
import sys
from counterpoise.cli._errors import answer
try:
    exec("raise KeyboardInterrupt")
except KeyboardInterrupt as error:
    sys.exit(answer(error))
"""
    (tmp_path / "stopped.py").write_text(code)
    command = [sys.executable, "-m", "stopped"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "counterpoise: stopped\n")


def test_a_current_folder_that_is_gone_is_one_line(tmp_path):
    done = call(
        "doctor", "mlp", "digits", cwd=tmp_path, before="mkdir gone; cd gone; rmdir ../gone"
    )
    assert re.fullmatch("counterpoise: the current folder must be there: [^\n]+\n", done.stderr)
    assert done.returncode == 2


def test_python_m_is_the_command(tmp_path):
    done = call("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{counterpoise.__version__}\n")
