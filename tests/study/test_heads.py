"""Studies of heads on vectors: groups of runs share a process, and change nothing but the time."""

import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from itertools import chain

import pytest
import torch
from tests.study.small import files, plan, prepared, run

from counterpoise.data import Split, Splits
from counterpoise.study import Data, Engine, Training, Tuning, _heads, _together, engines, record
from counterpoise.study.engines import _groups, local
from counterpoise.study.events import Epoch, Failed, Finished, Planned, Started
from counterpoise.study.spec import Nodes

LOSSES = ("cross_entropy", "focal+drw", "ldam", "balanced_softmax")
TRAINING = Training("linear", epochs=3, lr=0.1, batch_size=32, clip_norm=1.0)
CODE = """\
import os, signal
from torch import nn
class Kills(nn.Module):
    def forward(self, logits, target):
        os.kill(os.getpid(), signal.SIGKILL)
def kills(counts):
    return Kills()
def fails(counts):
    raise ValueError("no such loss")
"""


def vectors(n=300):
    g = torch.Generator().manual_seed(0)
    targets = torch.multinomial(torch.tensor([60.0, 30, 10]), n, True, generator=g)
    inputs = torch.randn(n, 8, generator=g) + 3 * torch.randn(3, 8, generator=g)[targets]
    train, test = Split(inputs[:200], targets[:200]), Split(inputs[200:], targets[200:])
    return Splits("made", train, test, ("a", "b", "c"), "made", held_out=True)


def study(**changes):
    made = {"losses": LOSSES, "seeds": (0, 1, 2), "training": TRAINING}
    return plan(**{**made, **changes})


def compare(folder, made, **settings):
    return run(made, folder, data={folder: vectors()}, **settings)


def jobs_of(folder, made):
    folder.mkdir()
    work = prepared(made, folder, vectors())
    work.save()
    return {name: work.job(name) for name in work.names("final")}


def alone(folder, made):
    """Do each run in a process to itself, as on Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_groups, "grouped", lambda jobs, at_once: {k: (j,) for k, j in jobs.items()})
        compare(folder, made)


@pytest.fixture
def processes(monkeypatch):
    """The runs of each process that is started."""
    seen = []

    def watched(target, groups, **settings):
        seen.extend([job.folder.name for job in group] for group in groups.values())
        return local.run_all(target, groups, **settings)

    monkeypatch.setattr(engines, "run_here", watched)
    return seen


@pytest.mark.parametrize(
    ("changes", "test"),
    [
        ({"training": replace(TRAINING, lr="auto"), "tuning": Tuning((0.1, 0.02))}, "auto"),
        ({"samplers": ("shuffle", "progressive"), "losses": LOSSES[2:]}, "per_seed"),
        ({"training": replace(TRAINING, model="cosine", optimizer="adamw", lr=0.01)}, "auto"),
    ],
    ids=["tuned", "samplers", "cosine"],
)
def test_records_are_those_of_runs_alone_to_the_byte(tmp_path, processes, changes, test):
    made = study(**{"losses": LOSSES[1:3], "seeds": (0, 1), **changes})
    made = replace(made, data=Data("made", test=test))
    events = compare(tmp_path / "together", made, workers=2)
    ends = [e for e in events if isinstance(e, Finished | Failed)]
    assert min(map(len, processes)) >= 2
    assert not [e for e in ends if isinstance(e, Failed)]
    assert sorted(chain(*processes)) == sorted(e.run for e in ends)  # each once
    assert sorted(e.run for e in events if isinstance(e, Started)) == sorted(e.run for e in ends)
    alone(tmp_path / "alone", made)
    assert files(tmp_path / "together" / "runs") == files(tmp_path / "alone" / "runs")


def killed_when(group, when):
    """Train a group in a process that kills itself at an event."""
    count = iter(range(10**6))

    def emit(event):
        if when(event, next(count)):
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(
        target=_together.train_together, args=(group, emit)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["an epoch", "records"])
def test_a_killed_group_goes_on_to_the_same_bytes(tmp_path, monkeypatch, moment):
    made, ends = study(seeds=(0,)), []

    def when(event, _):
        if moment == "an epoch":
            return isinstance(event, Epoch) and event.row["epoch"] == 2 and "ldam" in event.run
        ends.extend([event] if isinstance(event, Finished) else [])
        return len(ends) == 2

    monkeypatch.setattr(_together, "_SAVED_EVERY", 0.0)
    group = list(jobs_of(tmp_path / "killed", made).values())
    killed_when(group, when)
    left = [job for job in group if record.checkpoint_time(job.folder) is not None]
    whole = [job for job in group if record.read(job.folder) is not None]
    assert (len(left), len(whole)) == ((4, 0) if moment == "an epoch" else (2, 2))
    resumed = {}
    _together.train_together(
        group[::-1],  # in another order, as another group would be
        lambda e: resumed.setdefault(e.run, e.row["epoch"]) if isinstance(e, Epoch) else None,
    )
    assert set(resumed.values()) == ({2, 3} if moment == "an epoch" else set())
    compare(tmp_path / "killed", made)
    compare(tmp_path / "undisturbed", made)
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")
    assert not list(tmp_path.rglob("*checkpoint*"))
    assert not list(tmp_path.rglob(record.NOTE))


def test_seeds_that_are_added_make_new_groups_and_leave_the_old_records(tmp_path, processes):
    compare(tmp_path, study(seeds=(0,)))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/*") if p.name != ".lock"}
    del processes[:]
    events = compare(tmp_path, study(seeds=(0, 1)))
    (planned,) = [e for e in events if isinstance(e, Planned)]
    assert (len(planned.runs), len(planned.kept)) == (8, 4)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(list(chain(*processes))) == 4
    assert not set(chain(*processes)) & set(planned.kept)


def test_one_that_fails_or_kills_its_process_leaves_the_others(tmp_path, monkeypatch, processes):
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(_heads, "together", lambda specs, nodes: 4)  # as if they were not his own
    made = study(losses=("mine:fails", *LOSSES[:2], "mine:kills"), seeds=(0,))
    events = compare(tmp_path / "study", made, workers=1)
    failed = {e.run: e for e in events if isinstance(e, Failed)}
    assert {name.split("-")[1]: e.reason.partition(" (")[0] for name, e in failed.items()} == {
        "mine_fails": "ValueError: no such loss",
        "mine_kills": "its process died 2 times",
    }
    assert len([e for e in events if isinstance(e, Finished)]) == 2
    errors = [p.parent.name for p in tmp_path.glob("study/runs/*/error.txt")]
    assert errors == [name for name in failed if "fails" in name]
    assert [len(group) for group in processes] == [4, 1, 1, 1]  # the three that had not ended
    other = study(losses=LOSSES[:2], seeds=(0,))
    compare(tmp_path / "other", other)
    found = files(tmp_path / "study" / "runs")
    assert files(tmp_path / "other" / "runs").items() <= found.items()


def test_a_head_that_diverges_says_so(tmp_path):
    made = study(
        seeds=(0,), training=replace(TRAINING, lr=1e30, clip_norm=0.0, schedule="constant")
    )
    events = compare(tmp_path, made)
    reasons = {e.reason.partition(" (")[0] for e in events if isinstance(e, Failed)}
    assert reasons
    assert all("lower the learning rate" in reason for reason in reasons)


def test_groups_are_full_rounds_of_runs_with_the_same_batches(tmp_path):
    jobs = jobs_of(tmp_path / "study", study(seeds=range(10)))  # 40 runs
    for at_once, sizes in {1: [13, 13, 14], 2: [10] * 4, 50: [1] * 40}.items():
        groups = _heads.grouped(jobs, at_once).values()
        assert sorted(map(len, groups)) == sizes
        seeds = [job.spec.seed for group in groups for job in group]
        assert seeds == sorted(seeds)
    far = {name: replace(job, nodes=Nodes(2)) for name, job in jobs.items()}
    assert {len(group) for group in _heads.grouped(far).values()} == {1}
    assert _heads.grouped({}) == {}
    own = jobs_of(tmp_path / "own", study(losses=("cross_entropy", "torch.nn:MSELoss")))
    shared = [group for group in _heads.grouped(own).values() if len(group) > 1]
    assert {job.spec.variant.loss for group in shared for job in group} == {"cross_entropy"}
    plain = replace(TRAINING, augment="none")
    for settings in ({"patience": 3}, {"model": "mlp"}, {"augment": "flip"}, {"accumulate": 2}):
        assert not _heads.trains_heads(replace(plain, **settings)), settings
    assert _heads.trains_heads(plain)


def test_a_task_on_slurm_does_its_heads_together(tmp_path, monkeypatch, processes):
    slurm = pytest.importorskip("counterpoise.study.engines.slurm", exc_type=ValueError)
    made = study(seeds=range(5), engine=Engine("slurm"))
    jobs = jobs_of(tmp_path / "study", made)
    some = _heads.together([job.spec for job in jobs.values()], 1)
    monkeypatch.setattr(slurm._queue, "largest_array", lambda: 1001)
    tasks = slurm.chunks(list(jobs), Engine("slurm"), 0, some)
    assert [len(task) for task in tasks] == [16, 4]
    assert [len(t) for t in slurm.chunks(list(jobs), Engine("slurm", chunk=5), 0, some)] == [5] * 4
    task = slurm.Task({run: jobs[run] for run in tasks[1]}, tmp_path / "note.json", 1)
    task()
    assert task.note.ended == dict.fromkeys(tasks[1])
    compare(tmp_path / "here", study(seeds=range(4, 5)))
    assert files(tmp_path / "study" / "runs") == files(tmp_path / "here" / "runs")
