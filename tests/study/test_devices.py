"""Runs on several devices: as on one, and their ends."""

import dataclasses
import multiprocessing
import sys
import time
import types

import numpy as np
import psutil
import pytest
import safetensors.torch
import torch
from tests.study.small import QUICK, plan, prepared, run

from counterpoise.study import (
    Plan,
    Training,
    Variant,
    _ranks,
    compare,
    engines,
    one_run,
    open_study,
)
from counterpoise.study._runs import final_runs, reference_runs
from counterpoise.study.engines._gpus import Gpus
from counterpoise.study.events import Epoch, Failed, Finished
from counterpoise.study.settings import Engine

WEIGHTS = "weights.safetensors"
NET = """
import os, signal, time
from pathlib import Path
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.last, self.calls = nn.Linear(64, classes), 0
        if os.environ.get("RANK") == "1" and AFTER < 0:
            act()

    def forward(self, x):
        self.calls += self.training
        if os.environ.get("RANK") == "1" and self.calls > AFTER:
            act()
        return self.last(x.flatten(1))

def net(norm, shape, classes):
    return Net(classes)

"""


def own_net(folder, monkeypatch, act, after=0, **training):
    """Act in the second process, after so many steps since it began; -1: as the net is made."""
    (folder / "acting.py").write_text(f"{NET}AFTER = {after}\ndef act():\n{act}")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    settings = {"epochs": 4, "lr": 0.1, "batch_size": 64, "devices": 2, **training}
    return Plan("digits", losses=("focal",), seeds=(0,), references=False, training=Training(
        "acting:net", **settings
    ))  # fmt: skip


def ends(events):
    return [e for e in events if isinstance(e, Finished | Failed)]


@pytest.mark.slow
def test_a_study_on_two_devices_is_that_on_one(tmp_path):
    """Counts that are asked for are nobody's share: the sampler's are of all processes."""
    balanced = Variant("batch", "focal+drw", "progressive", {"gamma": 1.0})
    for folder, settings in {
        "one": {},
        "two": {"devices": 2},
        "sharded": {"devices": 2, "shard": True},
    }.items():
        training = dataclasses.replace(QUICK, clip_norm=1.0, **settings)
        made = plan(losses=("ldam",), variant=(balanced,), seeds=(0,), training=training)
        assert not [e for e in run(made, tmp_path / folder) if isinstance(e, Failed)]
    one, *others = (open_study(tmp_path / k) for k in ("one", "two", "sharded"))
    for study in others:
        for a, b in zip(study.records, one.records, strict=True):
            assert a.run["devices"] == [2]
            assert a.run["seen_counts"] == b.run["seen_counts"]
            for x, y in zip(a.history[1:], b.history[1:], strict=True):  # the first has no loss
                assert x == pytest.approx(y, rel=1e-3)
            found, expected = (r.predictions["test_logits"] for r in (a, b))
            np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)
            assert {p.name for p in a.folder.iterdir()} == {p.name for p in b.folder.iterdir()}
            assert a.flow == b.flow
            weights, same = (safetensors.torch.load_file(r.folder / WEIGHTS) for r in (a, b))
            torch.testing.assert_close(weights, same, rtol=1e-2, atol=1e-3)
    assert {r.run.get("devices") for r in one.records} == {None}


@pytest.mark.slow
def test_a_process_that_is_killed_costs_what_came_after_the_last_epoch(tmp_path, monkeypatch):
    act = (
        "    if not Path('killed').exists():\n"
        "        Path('killed').touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    events = run(own_net(tmp_path, monkeypatch, act, after=40), tmp_path / "study")
    assert [type(e) for e in ends(events)] == [Finished]
    assert [e.row["epoch"] for e in events if isinstance(e, Epoch)] == [0, 1, 2, 3, 4]
    assert (tmp_path / "killed").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "said", "outside"),
    [
        ("    raise ValueError('no such thing')\n", "ValueError: no such thing (acting.py:", False),
        ("    raise OSError(28, 'disk full')\n", "OSError: [Errno 28] disk full (acting.py:", True),
        ("    os.kill(os.getpid(), 9)\n", "process 1 of its 2 (0 to 1) died 2 times (exit", True),
    ],
)
def test_an_error_of_a_process_is_the_runs(tmp_path, monkeypatch, capfd, act, said, outside):
    events = run(own_net(tmp_path, monkeypatch, act), tmp_path / "study")
    (end,) = ends(events)
    assert said in end.reason
    assert "\n" not in end.reason
    assert end.outside is outside
    assert capfd.readouterr().err == ""
    if not outside:
        (folder,) = (tmp_path / "study" / "runs").iterdir()
        assert "line 16, in forward" in (folder / "error.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("after", [-1, 0])
def test_a_process_that_ends_before_it_is_done_is_not_waited_for(tmp_path, monkeypatch, after):
    events = run(own_net(tmp_path, monkeypatch, "    os._exit(0)\n", after), tmp_path / "study")
    (end,) = ends(events)
    assert end.reason == "process 1 of its 2 (0 to 1) ended (exit code 0) before the run was done"
    assert not end.outside


@pytest.mark.slow
def test_two_devices_resume_what_one_began_and_the_record_says_so(tmp_path, monkeypatch):
    """With "all" it is the machine that says how many."""
    training = dataclasses.replace(QUICK, devices="all", epochs=3)
    made = plan(losses=("focal",), seeds=(0, 1), training=training)
    compare(made, out=tmp_path / "whole", progress=False)

    class Stop(Exception):
        pass

    def stop(event):
        if isinstance(event, Epoch) and event.row["epoch"] == 2:
            raise Stop

    (tmp_path / "resumed").mkdir()
    work = prepared(made, tmp_path / "resumed")
    first = work.job(work.names("final")[0])
    with pytest.raises(Stop):
        one_run.train_run(first, stop)
    monkeypatch.setattr(_ranks, "count_devices", lambda devices: 2)
    seen = []
    one_run.train_run(first, seen.append)
    assert [e.row["epoch"] for e in seen if isinstance(e, Epoch)] == [2, 3]
    monkeypatch.undo()
    work.save()
    compare(made, out=tmp_path / "resumed", progress=False)
    whole, resumed = (open_study(tmp_path / k) for k in ("whole", "resumed"))
    assert [r.run["devices"] for r in whole.records] == [[1], [1]]
    assert [r.run["devices"] for r in resumed.records] == [[1, 2], [1]]
    for a, b in zip(resumed.records, whole.records, strict=True):
        found, expected = (r.predictions["test_logits"] for r in (a, b))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    (said,) = resumed.other_environments()
    assert said in ("devices 1 then 2 in place of 1", "devices 1 in place of 1 then 2")
    assert whole.other_environments() == {}


def train(job):
    one_run.train_run(job, lambda event: None)


@pytest.mark.slow
def test_the_processes_of_a_run_end_with_it(tmp_path, monkeypatch):
    act = "    Path('running').touch()\n    time.sleep(600)\n"
    (tmp_path / "study").mkdir()
    work = prepared(own_net(tmp_path, monkeypatch, act), tmp_path / "study")
    job = work.job(work.names("final")[0])
    worker = multiprocessing.get_context("spawn").Process(target=train, args=(job,), daemon=True)
    worker.start()
    deadline = time.monotonic() + 90
    while not (tmp_path / "running").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    below = psutil.Process(worker.pid).children(recursive=True)
    assert len(below) >= 2
    worker.kill()
    worker.join()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []


def test_a_run_of_several_gpus_has_them_to_itself():
    gpus = Gpus(["a", "b", "c", "d", "e"], lambda k: 10)
    gpus.each = 2
    assert [gpus.assign(run) for run in "123"] == ["a,b", "c,d", None]
    gpus.on_event(Finished("1"))
    assert gpus.assign("3") == "a,b"
    few = Gpus(["a", "b"], lambda k: 10)
    few.each = 4  # it will say that it needs four
    assert few.assign("1") == "a,b"


def test_more_gpus_than_there_are_is_said(monkeypatch):
    assert [_ranks.count_devices(n) for n in (1, 3)] == [1, 3]
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"= 9999 starts as many processes, but here are"):
            _ranks.count_devices(9999)
    assert _ranks.count_devices("all") == max(1, torch.cuda.device_count())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [_ranks.count_devices(n) for n in (2, "all")] == [2, 2]
    with pytest.raises(ValueError, match="= 3 needs as many GPUs, but here are 2; set"):
        _ranks.count_devices(3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="processes without GPUs are counted")
def test_too_many_processes_are_refused_before_anything_is_written(tmp_path):
    made = plan(training=Training("mlp", epochs=1, lr=0.1, devices=1000), references=True)
    with pytest.raises(ValueError, match="= 1000 starts as many processes"):
        run(made, tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("devices", [0, -1, 2.0, "two", True, 10**9])
def test_a_number_of_devices_that_is_none_is_refused(devices):
    with pytest.raises(ValueError, match="devices must be"):
        Plan("digits", training=Training(devices=devices))


def test_a_share_of_a_gpu_is_no_device():
    with pytest.raises(ValueError, match=r"engine.gpus = 0.5 shares .* set engine.gpus = 1"):
        Plan("digits", training=Training(devices=2), engine=Engine("ray", gpus=0.5))


@pytest.mark.parametrize(
    ("devices", "name", "needs"),
    [
        (2, "ray", (2, 4.0, 2.0)),
        ("all", "ray", (1, 2.0, 1.0)),  # as many as the node gives it
        (3, "local", (3, 6.0, 3.0)),
    ],
)
def test_an_engine_is_asked_for_what_all_devices_need(tmp_path, monkeypatch, devices, name, needs):
    made = plan(training=dataclasses.replace(QUICK, devices=devices))
    work, asked = prepared(made, tmp_path), []
    jobs = {run: work.job(run) for run in work.names("final")}
    ray = types.SimpleNamespace(run_all=lambda jobs, engine, workers: asked.append(engine) or ())
    monkeypatch.setitem(sys.modules, "counterpoise.study.engines.ray", ray)
    monkeypatch.setattr(
        engines, "run_here", lambda do, jobs, workers, devices: asked.append(devices) or ()
    )
    list(engines.run_jobs(jobs, Engine(name, cpus=2.0, gpus=1.0)))
    found = asked[0]
    assert found == needs[0] if name == "local" else (found.cpus, found.gpus) == needs[1:]


def test_several_nodes_are_for_nets_alone():
    made = plan(references=True)
    nets = final_runs(made, "data", {label: {"lr": 0.1} for label in made.labels})
    both = [[r.spec for r in runs] for runs in (nets, reference_runs(made, "data", (1, 8, 8)))]
    engine = Engine("slurm", nodes=3)
    assert [engines.for_runs(engine, specs)[0].nodes for specs in both] == [3, 1]


@pytest.mark.parametrize(
    ("engine", "training", "said"),
    [
        (Engine(nodes=2), Training(), r"the engine is local; set engine.name = \"ray\" or"),
        (Engine("slurm", nodes=0), Training(), "engine.nodes must be within 1"),
        (
            Engine("ray", nodes=2),
            Training(sync_batch_norm=False),
            "each node; set it to 'all'",
        ),
        (Engine("ray", nodes=2, gpus=0.5), Training(), "a whole one; set engine.gpus = 1"),
    ],
)
def test_several_nodes_are_for_engines_that_have_them(engine, training, said):
    with pytest.raises(ValueError, match=said):
        Plan("digits", engine=engine, training=training)


def test_one_device_cannot_be_shared_among():
    with pytest.raises(ValueError, match="set it to 2 or more, or to 'all'"):
        Plan("digits", training=Training(shard=True))
