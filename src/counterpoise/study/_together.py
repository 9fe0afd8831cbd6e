"""Runs that are trained together in one process: heads on vectors, and seeds of a small net."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from counterpoise import probe, train
from counterpoise.study import one_run, record
from counterpoise.study._heads import streams
from counterpoise.study._run_data import RunData
from counterpoise.study.engines.worker import failed, noted
from counterpoise.study.events import Emit, Epoch, Finished, Progress, Started, Unstacked
from counterpoise.study.settings import Training
from counterpoise.study.spec import Job

_SAVED_EVERY = 5.0  # seconds from a head's checkpoint to the next: an epoch can take milliseconds
_MOST_BYTES = 2**30  # of weights, gradients and what an optimizer keeps


def train_together(jobs: Sequence[Job], emit: Emit) -> None:
    """Train heads on vectors, or seeds to be stacked, each as `one_run.train_run` does alone.

    Heads with the same batches are trained together, one set of them after the other. A run that
    fails ends alone. As its time a record has the run's share.

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
                    if members and not members[0].stacked:
                        read = members[0].training.read
                if members:
                    _train(members, emit)


class _Member(NamedTuple):
    """A run that is trained with others."""

    job: Job
    training: one_run._Training
    flow: list[probe.LayerRow] | None
    net: train.Member
    emit: Emit

    @property
    def stacked(self) -> bool:
        return self.training.spec.training.stack_seeds

    @property
    def bytes(self) -> int:
        """Of weights, gradients and an optimizer's two moments."""
        return 4 * sum(p.nbytes for p in self.net.net.parameters())


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
        yield _Member(job, training, training.first_step(), _net(job, training, tell), tell)


def _net(job: Job, training: one_run._Training, emit: Emit) -> train.Member:
    """Return the net of a run and what it is trained with, and its last checkpoint."""
    name, saved = job.folder.name, time.monotonic()

    def save(state: record.Content) -> None:
        nonlocal saved
        if time.monotonic() - saved >= _SAVED_EVERY:
            record.save_checkpoint(job.folder, state, training.environment)
            saved = time.monotonic()

    return train.Member(
        training.net,
        training.loss,
        training.make_optimizer(),
        training.criterion.each_epoch,
        training.load_checkpoint(job.folder) or None,
        on_epoch=lambda row: emit(Epoch(name, row)),
        on_progress=lambda share: emit(Progress(name, share)),
        on_state=save,
        train=training.splits["train"],
        sampler=training.sampler,
        watch={split: training.splits[split] for split in training.spec.training.watch},
        seed=training.spec.seed,
    )


def _train(members: Sequence[_Member], emit: Emit) -> None:
    """Train heads with the same batches, or stacked seeds, and write the record of each."""
    first, t = members[0], members[0].training.spec.training
    nets = [member.net for member in members]
    try:
        if first.stacked:
            augment = train.augmentation(t.augment)
            found = train.fit_stacked(nets, augment=augment, **_settings(t))
        else:
            found = train.fit_heads(
                nets,
                first.net.train,
                sampler=first.net.sampler,
                precision=first.training.precision,
                watch=first.net.watch,
                **_settings(t),
            )
    except train.NotStackable as error:
        name = first.job.folder.name
        emit(Unstacked(f"{len(nets)} seeds are trained one by one, {name} first: {error}", name))
        for job, training, *_, tell in members:
            with _failing_alone(job, emit):  # made anew: dropout draws what follows the weights
                one_run._Training(job, read=training.read).run(job.folder, tell)
                emit(Finished(job.folder.name))
        return
    for (job, training, flow, *_), rows in zip(members, found, strict=True):
        with _failing_alone(job, emit):
            if isinstance(rows, Exception):
                raise rows
            begin = time.perf_counter() - rows[-1]["seconds"]
            training.finish(job.folder, rows, flow, begin, {})
            emit(Finished(job.folder.name))


def _settings(t: Training) -> dict[str, Any]:
    """Return the settings of a training that are the same for all of a loop."""
    return {
        "epochs": t.epochs,
        "batch_size": t.batch_size,
        "schedule": train.SCHEDULES[t.schedule](t.warmup),
        "clip_norm": t.clip_norm or None,
    }


@contextmanager
def _failing_alone(job: Job, emit: Emit) -> Iterator[None]:
    """Take what is raised as the end of one run."""
    try:
        yield
    except Exception as error:
        one_run.keep_error(job.folder, error)
        emit(failed(job.folder.name, error))
