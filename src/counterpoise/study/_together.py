"""Runs that train heads on vectors, together in one process."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from counterpoise import probe, train
from counterpoise.study import one_run, record
from counterpoise.study._heads import streams
from counterpoise.study._run_data import RunData
from counterpoise.study.engines.worker import failed, noted
from counterpoise.study.events import Emit, Epoch, Finished, Progress, Started
from counterpoise.study.spec import Job

_SAVED_EVERY = 5.0  # seconds from a head's checkpoint to the next: an epoch can take milliseconds
_MOST_BYTES = 2**30  # of weights, gradients and what an optimizer keeps


def train_together(jobs: Sequence[Job], emit: Emit) -> None:
    """Train runs whose nets are heads on vectors, each as `one_run.train_run` trains it alone.

    Those with the same batches are trained together, one set of them after the other. A run that
    fails ends alone. As its time a record has the head's share.

    Args:
        jobs: the runs.
        emit: called with all events of each.
    """
    for same in streams(jobs):
        left, read = sorted(same, key=lambda job: job.folder.name), None
        while left:
            with ExitStack() as held:
                members: list[_Member] = []
                while left and sum(m.bytes for m in members) < _MOST_BYTES:
                    members += _opened(left.pop(0), read, emit, held)
                    read = members[0].training.read if members else read
                if members:
                    _train(members, emit)


class _Member(NamedTuple):
    """A run that is trained with others."""

    job: Job
    training: one_run._Training
    flow: list[probe.LayerRow] | None
    head: train.Head

    @property
    def bytes(self) -> int:
        """Of weights, gradients and an optimizer's two moments."""
        return 4 * sum(p.nbytes for p in self.head.net.parameters())


def _opened(job: Job, read: RunData | None, emit: Emit, held: ExitStack) -> Iterator[_Member]:
    """Yield a run to be trained, unless its record is there."""
    name = job.folder.name
    with _failing_alone(job, emit):
        held.enter_context(one_run.held(job.folder, emit))
        if record.take_up(job.folder, job.spec.to_json()) is not None:
            emit(Finished(name))
            return
        emit(Started(name))
        tell = held.enter_context(noted(job.folder, emit))
        training = one_run._Training(job, read=read)
        yield _Member(job, training, training.first_step(), _head(job, training, tell))


def _head(job: Job, training: one_run._Training, emit: Emit) -> train.Head:
    """Return the head of a run, with its last checkpoint."""
    name, saved = job.folder.name, time.monotonic()

    def save(state: record.Content) -> None:
        nonlocal saved
        if time.monotonic() - saved >= _SAVED_EVERY:
            record.save_checkpoint(job.folder, state, training.environment)
            saved = time.monotonic()

    return train.Head(
        training.net,
        training.loss,
        training.make_optimizer(),
        training.criterion.each_epoch,
        training.load_checkpoint(job.folder) or None,
        on_epoch=lambda row: emit(Epoch(name, row)),
        on_progress=lambda share: emit(Progress(name, share)),
        on_state=save,
    )


def _train(members: Sequence[_Member], emit: Emit) -> None:
    """Train runs with the same batches, and write the record of each."""
    first = members[0].training
    t = first.spec.training
    found = train.fit_heads(
        [member.head for member in members],
        first.splits["train"],
        epochs=t.epochs,
        batch_size=t.batch_size,
        sampler=first.sampler,
        schedule=train.SCHEDULES[t.schedule](t.warmup),
        clip_norm=t.clip_norm or None,
        precision=first.precision,
        watch={split: first.splits[split] for split in t.watch},
    )
    for (job, training, flow, _), rows in zip(members, found, strict=True):
        with _failing_alone(job, emit):
            if isinstance(rows, Exception):
                raise rows
            begin = time.perf_counter() - rows[-1]["seconds"]
            training.finish(job.folder, rows, flow, begin, {})
            emit(Finished(job.folder.name))


@contextmanager
def _failing_alone(job: Job, emit: Emit) -> Iterator[None]:
    """Take what is raised as the end of one run."""
    try:
        yield
    except Exception as error:
        one_run.keep_error(job.folder, error)
        emit(failed(job.folder.name, error))
