"""One row a member: what the command line, plans, studies and docs know of it comes from there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise import registry

ROOT = Path(__file__).parents[1]
TABLES = (
    "LOSSES",
    "MULTI_LABEL_LOSSES",
    "NORMS",
    "PLAIN_NORMS",
    "SAMPLERS",
    "MODELS",
    "REFERENCES",
)

LOSS = '''"""A toy loss: cross entropy and what the logits' size costs."""

import torch.nn.functional as F


def toy(reduction="mean"):
    """Return the loss."""
    return lambda logits, target: F.cross_entropy(logits, target) + 1e-3 * logits.square().mean()
'''
ROW = """    "toy": Member(
        f"{_LOSSES}._toy:toy", "to see that a row is enough", "-log p_t + z²", use="losses.toy()"
    ),
}
MULTI_LABEL_LOSSES"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the sources with one more file, and one more row."""
    source = tmp_path_factory.mktemp("toy") / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    folder = source / "counterpoise"
    (folder / "losses" / "_toy.py").write_text(LOSS)
    table = folder / "registry" / "_losses.py"
    rows = table.read_text()
    assert rows.count("}\nMULTI_LABEL_LOSSES") == 1
    table.write_text(rows.replace("}\nMULTI_LABEL_LOSSES", ROW))
    return source


def called(package, *arguments, status=0):
    run = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(package), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        cwd=package.parent,
    )
    assert run.returncode == status, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_a_new_loss_is_one_file_and_one_row(package):
    assert "vs, toy; +drw" in called(package, "-m", "counterpoise", "compare", "--help")
    said = called(package, "-m", "counterpoise", "compare", "digits", "--losses", "tyo", status=2)
    assert "did you mean 'toy'?" in said
    called(package, "-m", "counterpoise", "plan", "--losses", "toy")
    assert 'losses = ["toy"]' in (package.parent / "plan.toml").read_text()
    table = "from counterpoise.registry import table_of_losses; print(table_of_losses())"
    row = "| `toy` | -log p_t + z² | to see that a row is enough |  | `losses.toy()` |"
    assert row in called(package, "-c", table)


def test_a_new_loss_is_trained_in_a_study(package):
    settings = ["--losses", "cross_entropy", "toy", "--seeds", "2", "--epochs", "1", "--lr", "0.1"]
    settings += ["--no-references"]
    said = called(
        package, "-m", "counterpoise", "compare", "digits", "--model", "mlp", "--quiet", *settings
    )
    assert "toy" in said


def test_the_table_in_the_docs_is_the_registrys():
    assert registry.table_of_losses() in (ROOT / "docs" / "which_loss.md").read_text()


@pytest.mark.parametrize("table", TABLES)
def test_every_row_says_what_it_is_and_can_be_made(table):
    for name, member in getattr(registry, table).items():
        assert member.help, name
        assert name == "none" or callable(member.load()), name


def test_rows_import_no_torch():
    code = "import sys; from counterpoise import registry; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
