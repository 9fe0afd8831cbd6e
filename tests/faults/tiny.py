"""Tiny studies that run in this process within a tenth of a second, and what they end as."""

import contextlib
import dataclasses
import functools
from pathlib import Path

import torch
from torch import nn

from counterpoise import registry, report
from counterpoise.data import Split, Splits
from counterpoise.study import (
    Plan,
    Training,
    Tuning,
    _scoring,
    _stream,
    one_run,
    open_study,
    record,
    stream,
)
from counterpoise.study.events import Failed, Finished, Started

# The report tells times; a lock says nothing once it is released.
VARY = {record.TIMING, ".lock", "report.html"}


def net(norm, shape, num_classes):
    """As small as a net can be."""
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], num_classes))


def toy(seed=0):
    """24 samples of two classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(24) % 2
    inputs = torch.randn(24, 3, generator=generator) + targets[:, None]
    return Splits("toy", Split(inputs, targets), Split(inputs[:8], targets[:8]), ("a", "b"), "made")


PLAN = Plan(
    "toy",
    losses=("focal",),
    seeds=(0,),
    training=Training(f"{__name__}:net", epochs=2, batch_size=16),
    tuning=Tuning((0.1, 0.01)),
    references=False,
)


def here(jobs, engine, workers=None):
    """Run jobs in this process, as `engines.run_jobs` does in others."""
    for name, job in jobs.items():
        yield Started(name)
        try:
            one_run.train_run(job, lambda event: None)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            yield Failed(name, reason, isinstance(error, OSError))
        else:
            yield Finished(name)


@contextlib.contextmanager
def in_this_process():
    """Run studies without processes; scores, which are not what is tested here, are kept.

    Of the references there is one, which is fitted in milliseconds.
    """
    kept, every = _scoring.evaluate, dict(registry.REFERENCES)
    known = {}

    def evaluate(targets, logits, counts):
        key = targets.tobytes(), logits.tobytes(), tuple(counts)
        if key not in known:
            known[key] = kept(targets, logits, counts)
        return known[key]

    for word in every.keys() - {"logistic_regression"}:
        del registry.REFERENCES[word]
    real, _stream.run_jobs, _scoring.evaluate = _stream.run_jobs, here, evaluate
    try:
        yield
    finally:
        _stream.run_jobs, _scoring.evaluate = real, kept
        registry.REFERENCES.clear()
        registry.REFERENCES.update(every)


def compare(folder, plan=PLAN, data=None):
    """Run a study; return the reasons of the runs that failed."""
    events = stream({Path(folder): plan}, data={Path(folder): data or toy()})
    return [e.reason for e in events if isinstance(e, Failed)]


def tree(folder):
    """The bytes of every file that must be the same."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file() and p.name not in VARY
    }


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A folder as it is at first, and what is done to it."""

    prepare: object
    command: object


def _finished(folder):
    compare(folder)


def _stopped_half_way(folder):
    """After the first epoch of the first run that is reported."""
    save = record.save_checkpoint

    def stop(place, state, environment):
        save(place, state, environment)
        if "final" in place.name:
            raise KeyboardInterrupt

    record.save_checkpoint = stop
    try:
        with contextlib.suppress(KeyboardInterrupt):
            compare(folder)
    finally:
        record.save_checkpoint = save


def _damaged(folder):
    compare(folder)
    first, second, *_ = sorted(folder.glob("runs/*"))
    (first / record.RUN).write_text("{}")
    (second / record.CHECKPOINT).write_bytes(b"left over")
    (second / record.ERROR).write_text("left over")
    (folder / ".counterpoise-0.tmp").write_text("left over")


def _elsewhere(folder):
    """Run on a machine with other kernels."""
    usual = one_run.run_environment
    one_run.run_environment = lambda: usual() | {"kernels": "others"}
    try:
        compare(folder, dataclasses.replace(PLAN, on_other_environment="rerun"))
    finally:
        one_run.run_environment = usual


MORE = dataclasses.replace(PLAN, losses=("focal", "poly"), seeds=(0, 1))
BESIDE = dataclasses.replace(
    PLAN, references=True, training=dataclasses.replace(PLAN.training, epochs=1, lr=0.1)
)
STAGES = dataclasses.replace(
    PLAN,
    training=dataclasses.replace(
        PLAN.training, epochs=1, lr=0.1, mix="mixup", ema=0.9, retrain="crt", retrain_epochs=2
    ),
)
RERUN = dataclasses.replace(PLAN, on_other_environment="rerun")
SCENARIOS = {
    "new": Scenario(lambda folder: None, compare),
    "references": Scenario(lambda folder: None, functools.partial(compare, plan=BESIDE)),
    "stages": Scenario(lambda folder: None, functools.partial(compare, plan=STAGES)),
    "resumed": Scenario(_stopped_half_way, compare),
    "damaged": Scenario(_damaged, compare),
    "another plan": Scenario(_finished, functools.partial(compare, plan=MORE)),
    "other data": Scenario(_finished, functools.partial(compare, data=toy(1))),
    "another environment": Scenario(_elsewhere, functools.partial(compare, plan=RERUN)),
    "report": Scenario(_finished, lambda folder: report.render(open_study(folder)) and []),
}
