"""SLURM's queue, by its own commands."""

import subprocess
from collections.abc import Iterable
from typing import NamedTuple

_ANSWER = 120.0  # seconds; SLURM's own limit is shorter
_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
_TURN = {"None", "Priority", "Resources", "BeginTime", "JobArrayTaskLimit"}  # it will come
_USUAL_LARGEST = 1001

Key = tuple[str, int]  # of a task: the name of its array job, and its number in it


class Task(NamedTuple):
    """A task as SLURM knows it."""

    number: str  # such as 12_3
    state: str  # such as RUNNING, of `man squeue`
    why: str = ""  # it waits, such as Priority

    @property
    def stuck(self) -> str:
        """The reason for which it waits, where it may wait for ever."""
        return self.why if self.state == "PENDING" and self.why not in _TURN else ""

    @property
    def ended(self) -> bool:
        """Whether it will not run any more; one that is requeued will."""
        return self.state in _ENDED


def call(*words: str, given: str | None = None) -> str:
    """Return what a command of SLURM's prints.

    Args:
        *words: the command and its arguments.
        given: its standard input.

    Raises:
        ValueError: it failed; the message is its own.
    """
    try:
        done = subprocess.run(
            words, input=given, capture_output=True, text=True, timeout=_ANSWER, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"{words[0]} does not answer: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it failed without a word"]
        told = [x for x in lines if not x.startswith("Try ") and 'Try "' not in x] or lines
        said = told[-1].removeprefix(f"{words[0]}: ").removeprefix("error: ")
        raise ValueError(f"{words[0]}: {said}")
    return done.stdout


def tasks(names: Iterable[str]) -> dict[Key, Task] | None:
    """Return the tasks of array jobs that are queued, running, or ended some minutes ago.

    Args:
        names: of the jobs.

    Returns:
        The tasks; None where SLURM does not answer, which says nothing about them.
    """
    names, form = set(names), "%j|%K|%i|%T|%r"
    try:
        printed = call("squeue", "-h", "-r", "-t", "all", "-n", ",".join(names), "-o", form)
    except ValueError:
        return None
    found: dict[Key, Task] = {}
    for line in printed.splitlines():
        name, index, number, state, why = line.rsplit("|", 4)
        if name in names:
            found[name, int(index) if index.isdecimal() else 0] = Task(number, state, why)  # or N/A
    return found


def last_state(number: str) -> str:
    """Return how a task ended that left the queue; "" where SLURM keeps no accounts of it."""
    try:
        lines = call("sacct", "-X", "-n", "-P", "-j", number, "-o", "State").splitlines()
    except ValueError:
        return ""
    return lines[0].partition(" ")[0] if lines else ""  # CANCELLED by 1000


def largest_array() -> int:
    """Return how many tasks an array job may have here."""
    try:
        lines = call("scontrol", "show", "config").splitlines()
    except ValueError:
        return _USUAL_LARGEST
    found = {key.strip(): value.strip() for key, _, value in (x.partition("=") for x in lines)}
    most = found.get("MaxArraySize", "")
    return max(1, int(most)) if most.isdecimal() else _USUAL_LARGEST
