"""What a type checker tells a user of the package: pyrefly, which nobody here wrote."""

import re
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parents[1] / "src"


def checked(path: Path, text: str) -> str:
    """Return what pyrefly prints of a script."""
    path.write_text(text)
    command = [sys.executable, "-m", "pyrefly", "check", "--preset", "default"]
    command += ["--search-path", str(SRC), "--python-interpreter-path", sys.executable]
    command += ["--output-format", "min-text"]
    done = subprocess.run(
        [*command, str(path)], cwd=path.parent, capture_output=True, text=True, timeout=120
    )
    return done.stdout


def test_what_is_right_is_accepted_and_typed(tmp_path: Path) -> None:
    text = """
from typing import assert_type
import counterpoise
from counterpoise.study import Study, Training, events
from counterpoise.stats import Verdict

def draw(event: counterpoise.study.Event) -> None:
    match event:
        case events.Progress(run, share):
            assert_type(share, float)
        case events.Failed(run, reason):
            assert_type(reason, str)

study = counterpoise.compare(
    "digits", losses=["focal"], seeds=2, metric="accuracy", margin=0.02,
    training=Training("mlp", lr=0.1), on_event=draw,
)
assert_type(study, Study)
assert_type(study.verdicts(), list[Verdict])
assert_type(counterpoise.open_study("here").labels, tuple[str, ...])
"""
    assert checked(tmp_path / "right.py", text) == ""


WRONG = (
    "compare('digits', metrik='accuracy')",
    "compare('digits', seeds=2.5)",
    "compare(7)",
    "open_study('here').verdict()",
    "diagnose()",
    "comparee('digits')",
)


def test_each_line_that_is_wrong_is_told(tmp_path: Path) -> None:
    text = "".join(f"counterpoise.{line}\n" for line in WRONG)
    found = checked(tmp_path / "wrong.py", f"import counterpoise\n{text}")
    told = {int(number) for number in re.findall(r"(?m)^ERROR wrong\.py:(\d+):", found)}
    assert told == set(range(2, len(WRONG) + 2)), found
