"""Whichever byte of a study changes, a command ends in the right result or in one line.

`make faults` changes every byte of every text file and of every header, one in 256 of the rest, and
cuts each file at 200 places; `make test` a few of each. See CONTRIBUTING.md.
"""

import contextlib
import io
import itertools
import os
import re
import shutil
import sys

import pytest
from tests.faults import tiny

from counterpoise.cli import main

EVERY = os.environ.get("COUNTERPOISE_FAULTS") == "all"
STRIDE, CUTS, PARTS = (1, 200, 6) if EVERY else (97, 5, 1)
HEADER = 256  # bytes of a file that is not text
# What a run takes may differ; a plan that was edited may be told.
TIMES = re.compile(r"\b[\d.]+ s\b|, [\d.]+ times what|CP402 .*\n")
DATA = "tests.faults.tiny:toy"
WORDS = ["compare", DATA, "--model", f"{tiny.__name__}:net", "--lr", "0.1", "--epochs", "2"]
WORDS += ["--seeds", "1", "--quiet", "--out"]


def command(*words):
    """Return the exit code, the output and the lines of error of a command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before, sys.argv = sys.argv, ["counterpoise", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    out.flush()
    err.flush()
    shown, lines = (s.buffer.getvalue().decode() for s in (out, err))
    return code, TIMES.sub("", shown), lines.splitlines()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "finished"
    with tiny.in_this_process():
        code, _, lines = command(*WORDS, folder)
        assert (code, lines) == (0, [])
    return folder


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def damages(content, text):
    """Yield (what was done, the content then)."""
    places = range(0, len(content) if text else min(HEADER, len(content)), STRIDE)
    if not text:
        places = [*places, *range(HEADER, len(content), 256 * STRIDE)]
    for k in places:
        bit = 1 << (k % 8 if k % 3 else 0)  # the lowest one makes digits of digits
        yield f"byte {k}", content[:k] + bytes([content[k] ^ bit]) + content[k + 1 :]
    for k in range(0, len(content), max(1, len(content) // CUTS)):
        yield f"cut at {k}", content[:k]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_changed_byte_gives_the_right_result_or_one_line(finished, tmp_path, capsys, part):
    folder, expected = tmp_path / "finished", tiny.tree(finished)
    shutil.copytree(finished, folder)
    right = {w: command(w, folder) for w in ("show", "report")}
    tried = 0
    for name in names(folder):
        path, text = folder / name, name.endswith((".json", ".jsonl", ".toml"))
        content = path.read_bytes()
        for what, changed in itertools.islice(damages(content, text), part, None, PARTS):
            case = f"{name}, {what}"
            for word, (_, shown, _) in right.items():
                path.write_bytes(changed)
                code, now, lines = command(word, folder)
                if code == 0:
                    assert now == shown, case
                else:
                    assert (code, len(lines)) == (2, 1), (case, lines)
            path.write_bytes(changed)
            with tiny.in_this_process():
                code, _, lines = command(*WORDS, folder)
            assert (code, lines) == (0, []), (case, lines)
            assert tiny.tree(folder) == expected, case
            tried += 1
    with capsys.disabled():
        print(f" {tried} changes ", end="")
