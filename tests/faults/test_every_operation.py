"""Whichever operation on a file is the last one, or fails, a study ends with the same bytes.

`make faults` tries every operation with every error; `make test` every eleventh with one of them.
See CONTRIBUTING.md.
"""

import errno
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults import tiny
from tests.faults.operations import Disk, Operations, lay_out

from counterpoise.study import record

STRIDE = 1 if os.environ.get("COUNTERPOISE_FAULTS") == "all" else 11


@pytest.fixture(params=tiny.SCENARIOS)
def scenario(request):
    return tiny.SCENARIOS[request.param]


@dataclass(frozen=True)
class Undisturbed:
    """What is there at first, the operations that follow, and what they end as.

    `finished` has the folders of the runs and the number of the first operation after each.
    """

    disk: Disk
    log: list
    tree: dict
    finished: dict


@pytest.fixture
def undisturbed(scenario, tmp_path, monkeypatch):
    folder, finished = tmp_path / "undisturbed", {}
    folder.mkdir()
    with tiny.in_this_process():
        scenario.prepare(folder)
        disk = Disk(folder)
        with Operations(folder) as operations:
            finish = record.finish

            def noted(place, *rest):
                finish(place, *rest)
                finished[f"runs/{place.name}/"] = len(operations.log)

            monkeypatch.setattr(record, "finish", noted)
            assert scenario.command(folder) == []
        yield Undisturbed(disk, operations.log, tiny.tree(folder), finished)


def crashes(whole):
    """The different states that a crash after each of the operations can leave behind."""
    seen, disk = set(), whole.disk
    for k, operation in enumerate([*whole.log, None]):
        states = {"killed": disk.killed(), "lost": disk.lost(), "reordered": disk.reordered()}
        if operation is not None and (torn := disk.torn(operation)) is not None:
            states["torn"] = torn
        for path, content in whole.tree.items():
            if any(path.startswith(run) and k >= end for run, end in whole.finished.items()):
                for how, state in states.items():
                    assert state.get(path) == content, f"{how} at {k}: {path} of a finished run"
        for how, state in states.items():
            if (key := frozenset(state.items())) not in seen:
                seen.add(key)
                yield f"{how} before operation {k}: {operation and operation.name}", state
        if operation is not None:
            disk.do(operation)


def test_after_a_crash_at_any_operation_the_same_bytes(scenario, undisturbed, tmp_path):
    folder = tmp_path / "study"
    cases = list(crashes(undisturbed))[::STRIDE]
    assert cases
    for case, state in cases:
        lay_out(state, folder)
        assert scenario.command(folder) == [], case
        assert tiny.tree(folder) == undisturbed.tree, case
    print(f"{len(cases)} crashes after {len(undisturbed.log)} operations")


ERRORS = [(errno.EIO, False), (errno.ENOSPC, False), (errno.ENOSPC, True)]  # which lasts


def test_an_operation_that_fails_costs_no_more_than_the_call(scenario, undisturbed, tmp_path):
    """By each of the errors, or where not all operations are tried, by each in turn."""
    log, expected = undisturbed.log, undisturbed.tree
    folder, first = tmp_path / "study", undisturbed.disk.killed()
    operations = range(0, len(log), STRIDE)
    every = itertools.product(operations, ERRORS)
    for k, (error, lasting) in every if STRIDE == 1 else zip(operations, itertools.cycle(ERRORS)):
        case = f"operation {k}: {log[k].name}: {os.strerror(error)}, {lasting}"
        lay_out(first, folder)
        with Operations(folder, k, error, lasting) as operations:
            try:
                failed = scenario.command(folder)
            except (OSError, ValueError) as reason:  # the command line's one line
                failed = [str(reason)]
        assert len(operations.log) > k, case
        assert failed or tiny.tree(folder) == expected, case
        assert all(os.strerror(error) in str(reason) for reason in failed), (case, failed)
        assert {p.name for p in folder.rglob("*.tmp")} <= {Path(p).name for p in first}, case
        assert scenario.command(folder) == [], case
        assert tiny.tree(folder) == expected, case
