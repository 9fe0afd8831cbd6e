"""The function that does a run, whatever engine calls it."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from counterpoise import files
from counterpoise.study import record
from counterpoise.study.events import Emit, Epoch, Failed, Finished, OfRun, Progress
from counterpoise.study.spec import Job
from counterpoise.user_code import raised

_NOTED_EVERY = 2.0  # seconds
_MOST_CHARACTERS = 2000  # of a reason; error.txt has the rest


def do(job: Job, emit: Emit) -> None:
    """Do a run; its folder holds the record then, and meanwhile a note of how far it is.

    Args:
        job: the run.
        emit: called with the run's events, but for its end.

    Raises:
        BaseException: whatever the user's net raises.
    """
    from counterpoise.study.one_run import train_run  # the parent needs none of it

    if job.nodes.rank:
        train_run(job, emit)
        return
    with noted(job.folder, emit) as tell:
        train_run(job, tell)


@contextmanager
def noted(folder: Path, emit: Emit) -> Iterator[Emit]:
    """Keep the note of a run; yield a function that notes its events and emits them."""
    note = Note(folder)

    def tell(event: OfRun) -> None:
        note.on_event(event)
        emit(event)

    note.write()
    try:
        yield tell
    finally:
        note.remove()


def ending(run: str, work: Callable[[], None]) -> Finished | Failed:
    """Call a function that does a run, and return how it ended, whatever it raises."""
    try:
        work()
    except BaseException as error:  # the user's net may call sys.exit
        return failed(run, error)
    return Finished(run)


def failed(run: str, error: BaseException) -> Failed:
    """Return the end of a run that raised an error."""
    reason = raised(error)
    reason = reason if len(reason) <= _MOST_CHARACTERS else f"{reason[:_MOST_CHARACTERS]} …"
    return Failed(run, reason, outside=isinstance(error, OSError))


class Note:
    """The note of a run that is being done, `progress.json` in its folder.

    It says where the run is done and how far it is, for `counterpoise show --watch` on any machine
    that sees the folder. It is not synced, and nothing depends on it.

    Args:
        folder: the run's.
        host: where the run is done.
    """

    def __init__(self, folder: Path, host: str = "") -> None:
        self.folder = folder
        where: dict[str, object] = {"host": host or socket.gethostname(), "began": time.time()}
        self.content = {**where, "now": time.time(), "share": 0.0, "epoch": 0, "resumed": 0.0}
        self.begun = False
        self.written = 0.0

    def on_event(self, event: OfRun) -> None:
        """Note how far the run is; it is written at most every two seconds."""
        self.content["now"] = time.time()
        match event:
            case Progress(_, share):
                self.content["share"] = share
                if not self.begun:  # a resumed run begins with what is done
                    self.content["resumed"], self.begun = share, True
            case Epoch(_, row):
                self.content["epoch"] = row.get("epoch") or 0
        if time.monotonic() - self.written > _NOTED_EVERY:
            self.write()

    def write(self) -> None:
        """Write the note; a folder that cannot be written is noticed elsewhere."""
        self.written = time.monotonic()
        with suppress(OSError):
            files.make_folder(self.folder)
            files.write(self.folder / record.NOTE, json.dumps(self.content), lasting=False)

    def remove(self) -> None:
        """Remove the note: the run has ended."""
        with suppress(OSError):
            files.remove(self.folder / record.NOTE)
