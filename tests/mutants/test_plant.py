"""The list of mutants fits the code, and what plants them tells the living from the dead."""

import dataclasses
from pathlib import Path

import pytest
from tests.mutants import plant

MUTANT = plant.Mutant("bias", "no bias", "mean.py", "/ n", "/ (n - 1)", ["test_mean.py"])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "mean.py").write_text("def mean(x):\n    n = len(x)\n    return sum(x) / n\n")
    (tmp_path / "test_mean.py").write_text(
        "from mean import mean\n\ndef test_mean():\n    assert mean([1, 2, 3]) == 2\n"
    )
    (tmp_path / "pyproject.toml").write_text('[tool.pytest]\npythonpath = ["."]\n')
    return tmp_path


def test_every_mutant_fits_the_code() -> None:
    """A line that moves takes its mutant along: change `old` in mutants.toml, and keep its idea."""
    mutants = plant.read_mutants()
    assert len(mutants) > 30
    assert plant.misfits(mutants) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"old": "/ k"}, "its text occurs 0 times in mean.py, and must once"),
        ({"old": "x"}, "its text occurs 3 times in mean.py, and must once"),
        ({"file": "median.py"}, "its text occurs 0 times in median.py, and must once"),
        ({"tests": ["test_median.py::test_one"]}, "there is no test_median.py::test_one"),
        ({"new": "/ n"}, "changes nothing"),
    ],
)
def test_a_mutant_that_does_not_fit_is_told(checkout: Path, change: dict, told: str) -> None:
    assert plant.misfits([MUTANT], checkout) == []
    assert plant.misfits([dataclasses.replace(MUTANT, **change)], checkout) == [f"bias: {told}"]
    assert plant.misfits([MUTANT, MUTANT], checkout) == ["bias: 2 mutants have this name"]


def test_a_mutant_dies_of_a_test_that_fails(checkout: Path) -> None:
    assert plant.run_tests(checkout, MUTANT.tests, timeout=60) == ""
    died, _ = plant.kill(MUTANT, checkout, timeout=60)
    assert died == "test_mean.py::test_mean"
    equal = dataclasses.replace(MUTANT, new="/ len(x)")
    assert plant.kill(equal, checkout, timeout=60)[0] == ""
    assert "/ n" in (checkout / "mean.py").read_text(encoding="utf-8")


def test_tests_that_do_not_end_notice_too(checkout: Path) -> None:
    endless = dataclasses.replace(MUTANT, old="    n = len(x)\n", new="    while True: pass\n")
    assert plant.kill(endless, checkout, timeout=3)[0] == "none ended within 3 s"


def test_no_tests_are_no_proof(checkout: Path) -> None:
    (checkout / "test_mean.py").write_text("")
    with pytest.raises(RuntimeError, match="no tests ran"):
        plant.run_tests(checkout, MUTANT.tests, timeout=60)
