"""Groups of runs: heads on vectors, which share a process."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from counterpoise.study._heads import Groups, grouped
from counterpoise.study.engines.worker import do
from counterpoise.study.events import Emit, Failed, Finished, OfRun
from counterpoise.study.spec import Job


def do_group(jobs: Sequence[Job], emit: Emit) -> None:
    """Do a run as `do` does; or several that train heads on vectors, and emit their ends, too."""
    if len(jobs) == 1:
        do(jobs[0], emit)
        return
    from counterpoise.study._together import train_together

    train_together(jobs, emit)


def run_grouped(
    jobs: Mapping[str, Job], at_once: int, run: Callable[[Groups], Iterator[OfRun]]
) -> Iterator[OfRun]:
    """Do runs, heads in groups, and yield the events of each.

    A head whose group did not come to its end, as another one ended the process, is done alone.

    Args:
        jobs: by the name of the run.
        at_once: processes at a time.
        run: does groups, each in a process of its own, and yields the events of processes, by the
            groups' names, and those that `do_group` emits.
    """
    left = dict(jobs)
    for event in run(grouped(jobs, at_once)):
        if event.run in left:
            if isinstance(event, Finished | Failed):
                del left[event.run]
            yield event
    if left:
        yield from run({name: (job,) for name, job in left.items()})
