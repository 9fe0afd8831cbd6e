"""Following the array jobs of a study: how runs end, and what is to be submitted again."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from counterpoise import files
from counterpoise.study import record
from counterpoise.study.engines import _queue
from counterpoise.study.engines._arrays import Array, Note, saved
from counterpoise.study.engines._queue import Key, Task
from counterpoise.study.events import Failed, Finished, Notice, OfRun, Progress, Started
from counterpoise.study.spec import Job

GRACE = 10.0  # seconds that a task has ended and its last words may be on their way
_OFTEN, _RARELY = 2.0, 30.0  # seconds between looks at the queue, at first and later
_SHARES = 16  # runs whose progress is read in a look
_MOST_BYTES = 10_000  # of a note of progress

Submit = Callable[[Sequence[str], Sequence[str]], Array]
"""Submits an array job; the second runs get a task each."""


class Gathering:
    """The runs of one study that are not done, and the array jobs that have them.

    Each look costs a listing of a folder and the files in it that changed; SLURM is asked every two
    seconds at first, and every thirty later.

    Args:
        jobs: the runs, by name.
        folder: of the array jobs.
        submit: called with what is to be submitted.
        logs: the folder of the tasks' logs.
        retries: how often a run is submitted again after the task died that was doing it.
    """

    def __init__(
        self, jobs: Mapping[str, Job], folder: Path, submit: Submit, logs: Path, retries: int
    ) -> None:
        self.waiting, self.submit, self.logs, self.retries = dict(jobs), submit, logs, retries
        self.arrays = {array.name: array for array in saved(folder)}
        self.failed = False
        self._told: set[str] = set()  # reasons for which tasks wait
        self._task: dict[str, Key] = {}  # that has a run
        self._notes: dict[Key, Note] = {}
        self._shares: dict[str, float] = {}  # of the runs that are being done
        self._deaths: dict[str, tuple[int, int | None]] = {}  # of a run, from a checkpoint
        self._gone: dict[Key, float] = {}  # since when a task is not in the queue
        self._asked, self._pause = 0.0, _OFTEN

    def begin(self) -> Iterator[OfRun | Notice]:
        """Take up what is queued from before, and submit the rest."""
        found = _queue.tasks(self.arrays) if self.arrays else {}
        self._learn_numbers(found or {})
        for array in self.arrays.values():
            for index, runs in enumerate(array.tasks):
                key = array.name, index
                lives = found is None or (key in found and not found[key].ended)
                here = [r for r in runs if r in self.waiting and (lives or r not in self._task)]
                self._task |= dict.fromkeys(here, key)
        yield from self._hear()
        if found is not None:  # what was lost or cancelled before is submitted like new runs
            self._task = {r: k for r, k in self._task.items() if k in found and not found[k].ended}
        queued = len(self._task)
        if queued:
            numbers = ", ".join(self.numbers)
            yield Notice(f"{queued} runs are queued or running from before, in job {numbers}")
        yield from self._submit([run for run in self.waiting if run not in self._task], [])

    def look(self) -> Iterator[OfRun | Notice]:
        """Yield what has happened since the last look."""
        yield from self._hear()
        for run in list(islice(self._shares, _SHARES)):
            before = self._shares.pop(run)
            self._shares[run] = share = max(before, _share(self.waiting[run].folder))
            if share > before:
                yield Progress(run, share)
        now = time.monotonic()
        pause = GRACE / 2 if self._gone else self._pause
        if self.waiting and now - self._asked >= pause:
            self._asked, self._pause = now, min(_RARELY, 1.5 * self._pause)
            yield from self._ask(now)

    @property
    def numbers(self) -> list[str]:
        """The numbers of the array jobs that have runs still."""
        names = dict.fromkeys(name for name, _ in self._task.values())
        return [self.arrays[name].number for name in names if self.arrays[name].number]

    def close(self) -> None:
        """Remove the array jobs that have ended; logs stay where a run failed."""
        until = time.monotonic() + GRACE
        found = _queue.tasks(self.arrays) if self.arrays else {}
        while found and not all(t.ended for t in found.values()) and time.monotonic() < until:
            time.sleep(0.5)  # the last words are said, the last processes are about to end
            found = _queue.tasks(self.arrays)
        if found is None:
            return
        living = {name for (name, _), task in found.items() if not task.ended}
        for array in [a for a in self.arrays.values() if a.name not in living]:
            kind = "_*.pkl" if self.failed else "_*"
            for path in self.logs.glob(f"{array.number or '-'}{kind}"):
                files.remove(path)
            array.remove()
            files.remove_folder(array.folder)
        files.remove_folder(self.logs)

    def _hear(self) -> Iterator[OfRun]:
        """Yield what the tasks say."""
        for array in self.arrays.values():
            for index, note in array.news():
                key = array.name, index
                self._notes[key] = note
                for run, end in note.ended.items():
                    if run not in self.waiting or (end and self._task.get(run) != key):
                        continue
                    begun = run in self._shares
                    if said := self._end(run, end):
                        yield from (said,) if begun else (Started(run), said)
                    else:  # its record is on its way
                        array.forget(index)
                run = note.running
                if run in self.waiting and run not in note.ended and run not in self._shares:
                    self._shares[run] = 0.0
                    yield Started(run)

    def _end(self, run: str, end: tuple[str, bool] | None) -> Finished | Failed | None:
        """Return how a run ended; None where its record cannot be seen yet."""
        if end is None and not _is_whole(self.waiting[run].folder):
            return None
        del self.waiting[run]
        self._task.pop(run, None)
        self._shares.pop(run, None)
        if end is None:
            return Finished(run)
        self.failed = True
        return Failed(run, *end)

    def _ask(self, now: float) -> Iterator[OfRun | Notice]:
        """Yield what the queue says: tasks that have ended without a word are lost."""
        keys = set(self._task.values())
        found = _queue.tasks(dict.fromkeys(name for name, _ in keys))
        if found is None:
            return
        self._learn_numbers(found)
        for why in sorted({task.stuck for task in found.values()} - {"", *self._told}):
            self._told.add(why)
            yield Notice(
                f"tasks wait in SLURM's queue for the reason {why}, which may not pass: see "
                "squeue -j and [engine] in the plan"
            )
        gone = {key for key in keys if key not in found or found[key].ended}
        self._gone = {key: self._gone.get(key, now) for key in gone}
        lost = {key for key in gone if now - self._gone[key] >= GRACE}
        if not lost:
            return
        for name in {name for name, _ in lost}:
            files.touch(self.arrays[name].folder / name)  # so that a network's file system looks
        yield from self._hear()
        again, alone = [], []
        for key in lost:
            runs = [run for run, its in self._task.items() if its == key]
            for run in runs:
                files.touch(self.waiting[run].folder)
                if said := self._end(run, None):
                    yield said
            left = [run for run in runs if run in self.waiting]
            doing = self._notes[key].running if key in self._notes else ""
            blamed = [doing] if doing in left else left
            for run in left:
                if run not in blamed:
                    again.append(run)
                elif said := self._die(run, key, found.get(key)):
                    yield said
                else:
                    alone.append(run)
        yield from self._submit(again, alone)

    def _die(self, run: str, key: Key, task: Task | None) -> Failed | None:
        """Return the end of a run whose task died; None where it is to be submitted again."""
        array, index = self.arrays[key[0]], key[1]
        number = task.number if task else f"{array.number}_{index}"
        state = task.state if task else _queue.last_state(number) or "gone from the queue"
        stamp = record.checkpoint_time(self.waiting[run].folder)
        times, before = self._deaths.get(run, (0, None))
        times = times + 1 if stamp == before else 1  # with a later checkpoint it goes forward
        self._deaths[run] = times, stamp
        if state == "CANCELLED":
            reason = f"its task {number} was cancelled; the same command submits it again"
        elif times > self.retries:
            note = self._notes.get(key)
            where = f" on {note.host}" if note else ""
            reason = f"its task died {times} times, the last one, {number}, as {state}{where}"
            reason += _log(self.logs / f"{number}_0_log.err")
        else:
            return None
        self._end(run, (reason, True))
        return Failed(run, reason, outside=True)

    def _submit(self, runs: Sequence[str], alone: Sequence[str]) -> Iterator[Notice]:
        if not runs and not alone:
            return
        array = self.submit(runs, alone)
        self.arrays[array.name] = array
        for index, names in enumerate(array.tasks):
            self._task |= dict.fromkeys(names, (array.name, index))
            for run in names:
                self._shares.pop(run, None)
        self._pause = _OFTEN
        total, n = len(runs) + len(alone), len(array.tasks)
        yield Notice(
            f"array job {array.number} of {n} {'task' if n == 1 else 'tasks'} has {total} "
            f"{'run' if total == 1 else 'runs'}: squeue -j {array.number} shows it, scancel "
            f"{array.number} cancels it"
        )

    def _learn_numbers(self, found: Mapping[Key, Task]) -> None:
        """Note the numbers of jobs whose driver was killed before it knew."""
        for (name, _), task in found.items():
            if not self.arrays[name].number:
                self.arrays[name].number = task.number.partition("_")[0]
                self.arrays[name].save()


def _share(folder: Path) -> float:
    """Return the share of a run that is done, from its note."""
    try:
        return float(json.loads(files.read(folder / record.NOTE, most=_MOST_BYTES))["share"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0.0


def _is_whole(folder: Path) -> bool:
    try:
        return record.read(folder) is not None
    except (OSError, record.Damaged):
        return False


def _log(path: Path) -> str:
    """Return the last line of a task's log in words; where there is none, what that means."""
    try:
        lines = files.read(path).decode(errors="replace").split("\n")
    except OSError:
        return (
            f"; it wrote no log ({path}): the study's folder must be on a disk that SLURM's "
            "machines share (--out)"
        )
    said = [x.strip() for x in lines if x.strip() and not x.startswith(("srun:", "slurmstepd:"))]
    return f"; {said[-1] if said else 'its log is empty'} ({path})"
