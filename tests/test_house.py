"""The rules of the house that no tool checks."""

import ast
import importlib
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "counterpoise"
EXERCISE = "counterpoise.exercise."
MAX_LINES = 400
VAGUE = {"utils", "util", "core", "base", "common", "helpers", "misc"}
BINARY = {".so", ".png", ".pyc"}
OUR_OWN = (  # words that stood for the field's: each a pattern
    r"(?<!digits, )letters",  # of a formula: parameters; of a text: characters
    r"tilt(s|ed|ing)?",
    r"bend(s|ing)?",
    r"bent",
    r"hopeless",
    r"patient",
    r"likewise",
    r"gone on with",  # resumed
    r"taken back",  # down-weighted
    r"of one['’]s own",
)

QUESTIONS = ("What ", "Which ", "How ")  # a docstring begins with an imperative or a noun phrase
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


def words_of_our_own(text: str) -> list[tuple[int, str]]:
    """Return line and word of each, also in names, and where a comment's line ends within one."""
    pattern = "|".join(re.sub(r"(?<=\w) ", r"[\\s#*]+", word) for word in OUR_OWN)
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)  # TiltLoss is two words
    found = re.finditer(rf"(?<![a-z])({pattern})(?![a-z])", apart, re.IGNORECASE)
    return [(apart.count("\n", 0, match.start()) + 1, match[0]) for match in found]


def test_the_fields_words_are_used() -> None:
    paths = [path for top in (SRC, ROOT / "docs") for path in top.rglob("*") if path.is_file()]
    texts = [path for path in paths if path.suffix not in BINARY]
    assert len(texts) > 100
    assert [path for path in paths if words_of_our_own(path.stem)] == []
    found = {
        f"{path.relative_to(ROOT)}:{line}": word
        for path in texts
        for line, word in words_of_our_own(path.read_text(encoding="utf-8"))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The letters of the formula", [(1, "letters")]),
        ("a\nTiltLoss(_bent, HOPELESS)", [(2, "Tilt"), (2, "bent"), (2, "HOPELESS")]),
        ("# a study is gone\n# on with; Likewise", [(1, "gone\n# on with"), (2, "Likewise")]),
        ("digits, letters, organs; letter-spacing; benthic; patients", []),
    ],
)
def test_a_word_of_our_own_is_found(text: str, found: list[tuple[int, str]]) -> None:
    assert words_of_our_own(text) == found


def questions(source: str) -> list[str]:
    """Return the docstrings of modules, classes and functions that begin as a question."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    texts = [
        ast.get_docstring(n) or "" for n in ast.walk(ast.parse(source)) if isinstance(n, kinds)
    ]
    return [text for text in texts if text.startswith(QUESTIONS)]


def test_no_docstring_begins_as_a_question() -> None:
    paths = list(SRC.rglob("*.py"))
    assert len(paths) > 50
    found = {str(path.relative_to(SRC)): questions(path.read_text("utf-8")) for path in paths}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_a_question_is_found() -> None:
    source = """
class A:
    "Which a."
    async def f():
        "How f."
    def g():
        "Whatever g."
"""
    assert questions("'What the module holds.'" + source) == [
        "What the module holds.",
        "Which a.",
        "How f.",
    ]


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


MODULES = {
    ".".join(path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SRC.rglob("*.py")
}


def imported(path: Path) -> Iterator[str]:
    """Yield what a file imports from the package, wherever it stands, but not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Not even within a function: what needs that is one thing in two places."""
    graph = {
        module: {
            name if name in MODULES else name.rpartition(".")[0]
            for name in imported(path)
            if name.startswith("counterpoise.")
        }
        for module, path in MODULES.items()
    }
    assert len(graph) > 100
    list(TopologicalSorter(graph).static_order())  # raises CycleError, with the circle


def test_what_is_private_stays_within_its_package() -> None:
    found = {
        (module.split(".")[1], private[1])
        for module, path in MODULES.items()
        for name in imported(path)
        if (private := re.match(r"(counterpoise\..+?)\._(?!_)", name))
        and not f"{module}.".startswith(f"{private[1]}.")
    }
    assert found == set()


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


@pytest.mark.parametrize("path", sorted((SRC / "exercise").rglob("*.py")), ids=lambda p: p.stem)
def test_the_exercise_uses_public_names_alone(path: Path) -> None:
    """A name with no underscore, in `__all__` where there is one, or a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            assert ast.unparse(node.value) == "self", ast.unparse(node)
        if isinstance(node, ast.Import):
            assert [a.name for a in node.names if a.name.startswith("counterpoise")] == []
        if not isinstance(node, ast.ImportFrom) or f"{node.module}.".startswith(EXERCISE):
            continue
        names = [alias.name for alias in node.names]
        assert [name for name in (*str(node.module).split("."), *names) if name[0] == "_"] == []
        if str(node.module).startswith("counterpoise"):
            module = importlib.import_module(str(node.module))
            public = getattr(module, "__all__", names)
            others = [getattr(module, name) for name in names if name not in public]
            assert [thing for thing in others if not isinstance(thing, ModuleType)] == []


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^version: (.+)$", citation) == [project["version"]]
