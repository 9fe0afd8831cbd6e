"""`counterpoise env`: what it says of versions, machine and kernels is so."""

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import counterpoise
from counterpoise.kernels import compiled

SOURCES = Path(counterpoise.__file__).parents[1]


def env(path=(), **variables):
    """Call the command; return its rows."""
    done = subprocess.run(
        [sys.executable, "-m", "counterpoise", "env"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*path, SOURCES]))} | variables,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in done.stdout.splitlines())


def test_it_says_what_runs_here():
    rows = env(OMP_NUM_THREADS="1")
    assert rows["counterpoise"] == f"{counterpoise.__version__}, {SOURCES / 'counterpoise'}"
    assert rows["Python"].startswith(f"{platform.python_version()} ")
    assert rows["torch"] == torch.__version__
    assert rows["platform"] == platform.platform()
    assert rows["threads"].startswith("1 ")
    assert rows["instructions"].startswith(torch.backends.cpu.get_cpu_capability())
    assert rows["CPU kernels"].endswith(f": {compiled.REASON}")
    assert ("layer_norm_forward" in rows["in C"]) == (compiled.LIBRARY is not None)
    assert ("layer_norm_forward" in rows["not in C"]) == (compiled.LIBRARY is None)


def test_variables_that_change_what_runs_are_shown_and_no_others():
    shown = env(OMP_NUM_THREADS="1", COUNTERPOISE_X="\x1b[2J", SECRET="s3cr3t")["environment"]
    assert "OMP_NUM_THREADS=1" in shown
    assert r"COUNTERPOISE_X=\x1b[2J" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("raised", ["ImportError", "OSError"])
def test_a_torch_that_cannot_be_imported_is_reported(raised, tmp_path):
    (tmp_path / "torch.py").write_text(f"raise {raised}('libcudart.so.12: not there')")
    rows = env(path=[tmp_path])
    assert rows["broken"] == f"{raised}: libcudart.so.12: not there"
    assert rows["torch"] == version("torch")
    assert "CPU kernels" not in rows
