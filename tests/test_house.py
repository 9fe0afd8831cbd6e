"""The rules of the house that no tool checks."""

import importlib
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "counterpoise"
MAX_LINES = 400
VAGUE = {"utils", "util", "core", "base", "common", "helpers", "misc"}

HELP = """
import sys
from counterpoise.cli import main
sys.argv = ["counterpoise", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
assert "torch" not in sys.modules, "torch was imported"
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def seconds(code: str, runs: int = 5) -> float:
    """The best of `runs`: the one that the rest of the machine disturbed least."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        done = python(code)
        times.append(time.perf_counter() - begin)
        assert done.returncode == 0, done.stderr
    return min(times)


def test_no_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(SRC)): len(path.read_text(encoding="utf-8").splitlines())
        for path in SRC.rglob("*.py")
    }
    assert lengths
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_no_name_is_vague() -> None:
    vague = [path for path in SRC.rglob("*") if path.stem.strip("_") in VAGUE]
    assert vague == []


def test_all_writing_goes_through_one_file() -> None:
    """But for a bug's traceback in the temporary folder, and for streams that nobody reads."""
    writes = re.compile(
        r"\.write_(text|bytes)\(|os\.(open|replace|rename|mkdir|makedirs|link|symlink)\(|\.mkdir\("
        r"|open\([^)]*[\"'][rbt]*[wax+]|mkstemp|shutil\.(copy|move)|save_file\("
    )
    found = {
        str(path.relative_to(SRC))
        for path in SRC.rglob("*.py")
        if writes.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"files.py", "cli/_errors.py", "cli/_streams.py"}


def test_importing_the_package_does_not_import_torch() -> None:
    done = python("import sys, counterpoise; assert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_help_works_without_torch() -> None:
    done = python(HELP)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_help_comes_at_once() -> None:
    """A loose bound, to catch a heavy import; it is no claim of speed."""
    assert seconds(HELP) - seconds("") < 1.0


@pytest.mark.parametrize("word", ["demo", "test"])
def test_readme_names_the_make_word(word: str) -> None:
    assert f"make {word}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_public_name_resolves() -> None:
    package = importlib.import_module("counterpoise")
    assert package.__all__
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^version: (.+)$", citation) == [project["version"]]
