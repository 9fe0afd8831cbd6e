"""Whichever operation on a file is the last one, or fails, a study ends with the same bytes.

`make faults` tries every operation; `make test` every eleventh. See CONTRIBUTING.md.
"""

import errno
import os

import pytest
from tests.faults import tiny
from tests.faults.operations import Disk, Operations, lay_out

STRIDE = 1 if os.environ.get("COUNTERPOISE_FAULTS") == "all" else 11


@pytest.fixture(params=tiny.SCENARIOS)
def scenario(request):
    return tiny.SCENARIOS[request.param]


@pytest.fixture
def undisturbed(scenario, tmp_path):
    """What is there at first, the operations that follow, and what they end as."""
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    with tiny.in_this_process():
        scenario.prepare(folder)
        disk = Disk(folder)
        with Operations(folder) as operations:
            assert scenario.command(folder) == []
        yield disk, operations.log, tiny.tree(folder)


def crashes(disk, log):
    """The different states that a crash after each of the operations can leave behind."""
    seen = set()
    for k, operation in enumerate([*log, None]):
        states = {"killed": disk.killed(), "lost": disk.lost(), "reordered": disk.reordered()}
        if operation is not None and (torn := disk.torn(operation)) is not None:
            states["torn"] = torn
        for how, state in states.items():
            if (key := frozenset(state.items())) not in seen:
                seen.add(key)
                yield f"{how} before operation {k}: {operation and operation.name}", state
        if operation is not None:
            disk.do(operation)


def test_after_a_crash_at_any_operation_the_same_bytes(scenario, undisturbed, tmp_path):
    disk, log, expected = undisturbed
    folder = tmp_path / "study"
    cases = list(crashes(disk, log))[::STRIDE]
    assert len(cases) > 4
    for case, state in cases:
        lay_out(state, folder)
        assert scenario.command(folder) == [], case
        assert tiny.tree(folder) == expected, case
    print(f"{len(cases)} crashes after {len(log)} operations")


@pytest.mark.parametrize(
    ("error", "lasting"),
    [(errno.EIO, False), (errno.ENOSPC, False), (errno.ENOSPC, True)],
    ids=["EIO", "ENOSPC", "full from there on"],
)
def test_an_operation_that_fails_costs_no_more_than_the_call(
    scenario, undisturbed, tmp_path, error, lasting
):
    disk, log, expected = undisturbed
    folder, first = tmp_path / "study", disk.killed()
    for k in range(0, len(log), STRIDE):
        case = f"operation {k}: {log[k].name}"
        lay_out(first, folder)
        with Operations(folder, k, error, lasting) as operations:
            try:
                failed = scenario.command(folder)
            except (OSError, ValueError) as reason:  # the command line's one line
                failed = [str(reason)]
        assert len(operations.log) > k, case
        assert failed or tiny.tree(folder) == expected, case
        assert all(os.strerror(error) in str(reason) for reason in failed), (case, failed)
        assert not list(folder.rglob("*.tmp")), case
        assert scenario.command(folder) == [], case
        assert tiny.tree(folder) == expected, case
