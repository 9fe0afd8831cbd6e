"""Studies on SLURM: a real one of one machine, submitit's local one, and what needs neither."""

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tests.study import slurm_here
from tests.study.slurm_here import call, wait_for
from tests.study.small import files, plan, prepared, run

from counterpoise.study import Engine, Training, Tuning, dry_run, open_study, record, stream
from counterpoise.study.engines import _gather, _queue, opened
from counterpoise.study.engines._arrays import Array, Note
from counterpoise.study.engines._queue import Task as Queued
from counterpoise.study.events import Failed, Finished, Notice, Started
from counterpoise.study.plan_file import write

ROOT = Path(__file__).parents[2]
CODE = """\
import multiprocessing, os, signal, time
from pathlib import Path
import torch
from torch import nn
HERE = Path(__file__).parent
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)
    def forward(self, x):
        if self.training and x.shape[0] > 2:
            time.sleep({pause})
            with open(HERE / ("steps" + os.environ.get("SLURM_ARRAY_TASK_ID", "")), "a") as file:
                file.write(".")
        return self.last(x.flatten(1))
def net(norm, shape, classes):
    return Net()
def fails(counts):
    raise ValueError("no such loss")
def kills(counts):
    if multiprocessing.parent_process() and not (HERE / "killed").exists():
        (HERE / "killed").touch()
        os.kill(multiprocessing.parent_process().pid, signal.SIGKILL)  # the task itself
    return nn.CrossEntropyLoss()
"""


@pytest.fixture(scope="session")
def slurm():
    with slurm_here.running():
        yield


@pytest.fixture(scope="module")
def two_nodes():
    with slurm_here.running("node1", "node2"):
        yield


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A current folder for SLURM's tasks, which are to import this checkout."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def ends(events):
    return [e for e in events if isinstance(e, Finished | Failed)]


@pytest.mark.slow
def test_a_study_on_slurm_is_the_local_one_to_the_byte(slurm, place):
    made = {
        "training": Training("mlp", epochs=1, batch_size=64),
        "tuning": Tuning((0.03, 0.1)),
    }
    run(plan(**made), place / "here", workers=1)
    engine = Engine("slurm", chunk=2, memory="1GB", options={"nice": True})
    with slurm_here.watched() as queued:
        events = list(stream({place / "there 100%": plan(**made, engine=engine)}))
    assert files(place / "there 100%" / "runs") == files(place / "here" / "runs")
    assert max(text.count("counterpoise-") for text in queued) == 2  # tasks, of two runs each
    assert any("RUNNING" in text for text in queued)
    assert [e.text.split(" has ")[1].split(":")[0] for e in events if isinstance(e, Notice)] == [
        "4 runs",
        "4 runs",
    ]
    begun = [e.run for e in events if isinstance(e, Started)]
    assert sorted(begun) == sorted(e.run for e in ends(events))
    assert {p.name for p in place.iterdir()} == {"here", "there 100%"}  # nothing of submitit's
    assert not (place / "there 100%" / "slurm").exists()


@pytest.mark.slow
def test_a_killed_driver_and_tasks_that_are_requeued_lose_nothing_and_do_nothing_twice(
    slurm, place
):
    epochs, steps = 8, 17
    (place / "mine.py").write_text(CODE.format(pause=0.1))
    made = plan(
        losses=("cross_entropy",),
        training=Training("mine:net", epochs=epochs, lr=0.1, batch_size=64),
        engine=Engine("slurm"),
    )
    (place / "plan.toml").write_text(write(made))
    command = [sys.executable, "-m", "counterpoise", "compare", "plan.toml", "--out", "study"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def done(task):
        counted = place / f"steps{task}"
        return len(counted.read_text()) if counted.exists() else 0

    wait_for(lambda: done(0) > 3 * steps and done(1) > 3 * steps)
    first.kill()
    first.wait()
    numbers = call("squeue", "-h", "-r", "-o", "%i").split()
    assert len(numbers) == 2
    call("scontrol", "requeue", numbers[0])  # as when a node is lost
    call("scancel", "--signal=USR2", numbers[1])  # as when the time is nearly up
    second = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=280)
    assert second.returncode == 0, second.stderr
    listed = call("squeue", "-h", "-r", "-t", "all", "-o", "%F %r").split("\n")
    assert {line.split()[0] for line in listed if line} >= {numbers[0].split("_")[0]}
    after = int(numbers[0].split("_")[0])
    assert not [x for x in listed if x and int(x.split()[0]) > after]  # no other array job
    once = epochs * steps
    assert [once <= done(k) < once + 2 * steps for k in (0, 1)] == [True, True], (done(0), done(1))
    assert not (place / "study" / "slurm").exists()
    local = plan(losses=made.losses, training=made.training)
    (place / "mine.py").write_text(CODE.format(pause=0.1))
    run(local, place / "here", workers=2)
    assert files(place / "study" / "runs") == files(place / "here" / "runs")


@pytest.mark.slow
def test_a_failing_run_is_told_and_a_killed_task_is_submitted_again(slurm, place, monkeypatch):
    monkeypatch.setattr(_gather, "GRACE", 1.0)
    (place / "mine.py").write_text(CODE.format(pause=0))
    made = plan(
        losses=("mine:kills", "mine:fails"),
        seeds=(0,),
        training=Training("mine:net", epochs=1, lr=0.1, batch_size=64),
        engine=Engine("slurm", chunk=2),
    )
    events = run(made, place / "study")
    failed = [e for e in ends(events) if isinstance(e, Failed)]
    assert len(failed) == 1
    assert failed[0].reason.startswith("ValueError: no such loss (")
    assert not failed[0].outside
    assert len(ends(events)) == 2
    assert sum(isinstance(e, Notice) for e in events) == 2  # it was submitted twice
    assert list((place / "study.slurm").glob("*.err"))  # for whom the reason is not enough
    assert not list((place / "study.slurm").glob("*.pkl"))


@pytest.mark.slow
def test_slurm_is_asked_before_anything_is_written(slurm, place):
    bad = plan(engine=Engine("slurm", partition="nowhere"))
    with pytest.raises(ValueError, match=r"SLURM must take the array job, but: sbatch: .*artition"):
        run(bad, place / "study")
    wanted = plan(seeds=(0, 1, 2), engine=Engine("slurm", chunk=4, time="90m", gpus=0))
    (text,) = dry_run(place / "study", wanted, workers=1)
    assert text.startswith("# final: 6 of 6 runs in 2 tasks, up to 4 each\n#!/bin/bash\n")
    assert "#SBATCH --array=0-1%1\n" in text
    assert "#SBATCH --time=90\n" in text
    (place / "plan.toml").write_text(write(wanted))
    command = [sys.executable, "-m", "counterpoise", "compare", "plan.toml", "--dry-run"]
    done = subprocess.run([*command, "--workers", "1"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    folder = "studies/digits"  # where no --out is given
    assert done.stdout.strip() == text.replace(str(place / "study"), str(place / folder)).strip()
    assert [p.name for p in place.iterdir()] == ["plan.toml"]


@pytest.mark.slow
def test_a_run_on_two_nodes_is_that_on_two_devices(two_nodes, place):
    """Two runs of a task in turn; the references, which are no nets, need one node."""
    training = Training("mlp", epochs=2, lr=0.1, batch_size=64)
    one = replace(training, devices=2)
    run(plan(seeds=(0,), training=one), place / "here", workers=1)
    engine = Engine("slurm", nodes=2, chunk=2)
    wanted = plan(seeds=(0,), training=training, engine=engine)
    with slurm_here.watched("%j %T %D") as queued:
        events = list(stream({place / "there": wanted}))
    assert [e for e in events if isinstance(e, Failed)] == []
    assert {line.split()[2] for text in queued for line in text.splitlines()} == {"2"}
    for a, b in zip(*(open_study(place / k).records for k in ("there", "here")), strict=True):
        assert a.run["devices"] == b.run["devices"] == [2]
        for name in ("history.jsonl", "predictions.npz", "weights.safetensors"):
            assert (a.folder / name).read_bytes() == (b.folder / name).read_bytes()
    assert {p.name for p in place.iterdir()} == {"here", "there"}


@pytest.mark.slow
def test_what_fails_on_another_node_is_the_runs(two_nodes, place):
    (place / "mine.py").write_text(CODE.format(pause=0).replace(
        "def net(norm, shape, classes):\n",
        "def net(norm, shape, classes):\n"
        "    if os.environ.get('GROUP_RANK') == '1':\n        raise ValueError('no such net')\n",
    ))  # fmt: skip
    training = Training("mine:net", epochs=1, lr=0.1, batch_size=64)
    made = plan(losses=("focal",), seeds=(0,), training=training, engine=Engine("slurm", nodes=2))
    (end,) = ends(run(made, place / "study"))
    assert "no such net" in end.reason
    assert not end.outside
    (folder,) = (place / "study" / "runs").iterdir()
    assert "on node2, in process 1:" in (folder / "error.txt").read_text()


@pytest.mark.slow
def test_a_task_that_loses_a_node_is_submitted_again(two_nodes, place, monkeypatch):
    """The processes on the other node die with SLURM's own there, after an epoch."""
    monkeypatch.setattr(_gather, "GRACE", 1.0)
    dies = (
        "def net(norm, shape, classes):\n"
        "    from counterpoise.study import record\n"
        "    begun = list(HERE.glob('study/runs/*/' + record.CHECKPOINT))\n"
        "    if os.environ.get('GROUP_RANK') == '1' and not begun:\n"
        "        import threading\n        threading.Thread(target=die, daemon=True).start()\n"
    )
    die = (
        "def die():\n"
        "    while not list(HERE.glob('study/runs/*/checkpoint.safetensors')):\n"
        "        time.sleep(0.02)\n"
        "    (HERE / 'lost').touch()\n"
        "    os.kill(int(os.environ['SLURM_TASK_PID']), signal.SIGKILL)\n"
    )
    code = CODE.format(pause=0.05).replace("def net(norm, shape, classes):\n", dies)
    (place / "mine.py").write_text(code + die)
    training = Training("mine:net", epochs=6, lr=0.1, batch_size=64)
    engine = Engine("slurm", nodes=2)
    events = run(
        plan(losses=("focal",), seeds=(0,), training=training, engine=engine), place / "study"
    )
    assert (place / "lost").exists()
    assert [type(e) for e in ends(events)] == [Finished]
    assert sum(isinstance(e, Notice) for e in events) == 2  # it was submitted twice


def test_a_dry_run_is_of_slurm_alone(tmp_path):
    with pytest.raises(ValueError, match="the engine is local; add --engine slurm"):
        next(dry_run(tmp_path / "study", plan()))


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Engine("slurm", gpus=0.25), "a whole number on slurm.* but got 0.25; set 1"),
        (Engine("slurm", options={"arr": "0-3"}), "does not set, but got arr; leave it out"),
        (Engine("slurm", options={"qos": "a\nrm x"}), "must be like { qos = 'low' }"),
    ],
)
def test_what_slurm_cannot_be_told_is_refused(engine, said, tmp_path, monkeypatch):
    for name in ("sbatch", "srun", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ValueError, match=said), opened(engine):
        pass


def test_a_machine_without_slurm_or_submitit_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="needs sbatch on the PATH"):
        run(plan(engine=Engine("slurm")), tmp_path / "study")
    assert not (tmp_path / "study").exists()
    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.delitem(sys.modules, "counterpoise.study.engines.slurm")
    with pytest.raises(ValueError, match=r"pip install 'counterpoise\[slurm\]'"):
        run(plan(engine=Engine("slurm")), tmp_path / "study")


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Two runs as a task, and the file in which it says how they ended."""
    from counterpoise.study.engines.slurm import Task

    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    (tmp_path / "study").mkdir()
    made = plan(losses=("cross_entropy",), training=Training("mlp", epochs=1, lr=0.1))
    work = prepared(made, tmp_path / "study")
    jobs = {name: work.job(name) for name in work.names("final")}
    return Task(jobs, tmp_path / "0.json", retries=1)


def submitted(task, tmp_path):
    """Do a task by submitit's local executor."""
    import submitit

    job = submitit.LocalExecutor(tmp_path / "submitit").submit(task)
    job.result()
    return Note.read(tmp_path / "0.json")


def test_a_task_with_other_versions_does_nothing(task, tmp_path):
    task.versions["torch"] = "1.0"
    note = submitted(task, tmp_path)
    said = {end[0] for end in note.ended.values()}
    assert len(note.ended) == 2
    assert len(said) == 1
    assert said.pop().endswith("but this machine has 1.0; install the same versions on both")


@pytest.mark.slow
def test_a_task_does_what_is_left_and_misses_a_disk_that_is_not_shared(task, tmp_path):
    one, other = task.jobs
    lost = task.jobs[other].samples.rename(tmp_path / "elsewhere")
    note = submitted(task, tmp_path)
    assert [outside for _, outside in note.ended.values()] == [True, True]
    assert "choose such a place with --set data.cache" in note.ended[one][0]
    lost.rename(task.jobs[other].samples)
    Note(ended={one: ("before", False)}).write(tmp_path / "0.json")
    note = submitted(task, tmp_path)
    assert note.ended == {one: ("before", False), other: None}
    assert record.read(task.jobs[other].folder)


def test_a_run_that_makes_no_headway_is_given_up(task, tmp_path):
    one, _ = task.jobs
    task.note.running = one
    for _ in range(2):
        task.checkpoint()
    assert "no epoch was finished in 2 times" in Note.read(tmp_path / "0.json").ended[one][0]


class Cluster:
    """A queue that does what a test says."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.jobs, self.answers = folder, [], True
        self.states = {}
        self.now = 0.0
        monkeypatch.setattr(_gather.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(_queue, "tasks", self.tasks)
        monkeypatch.setattr(_queue, "last_state", lambda number: "")
        monkeypatch.setattr(_gather, "_is_whole", lambda folder: (folder / "whole").exists())

    def tasks(self, names):
        if not self.answers:
            return None
        return {key: task for key, task in self.states.items() if key[0] in names}

    def submit(self, runs, alone):
        tasks = [list(runs)] * bool(runs) + [[run] for run in alone]
        number = str(len(self.jobs) + 1)
        array = Array(self.folder / "slurm", f"job{number}", tasks, number)
        array.save()
        self.jobs.append(array)
        for k in range(len(tasks)):
            self.states[array.name, k] = Queued(f"{number}_{k}", "PENDING")
        return array

    def end(self, job, task, state, running=""):
        if running:
            Note("node1", running).write(self.jobs[job].note(task))
        self.states[f"job{job + 1}", task] = Queued(f"{job + 1}_{task}", state)

    def driver(self, jobs, retries=1):
        made = _gather.Gathering(
            jobs, self.folder / "slurm", self.submit, self.folder / "logs", retries
        )
        self.said = list(made.begin())
        return made

    def later(self, driver):
        """What the driver yields, once it has looked at the queue and waited for last words."""
        said = []
        for _ in range(8):
            self.now += 8
            said += driver.look()
        return [e for e in said if not isinstance(e, Notice | Started)]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    return Cluster(tmp_path, monkeypatch)


@pytest.fixture
def jobs(tmp_path):
    class Folder:
        def __init__(self, folder):
            self.folder = folder

    found = {name: Folder(tmp_path / "runs" / name) for name in "abcd"}
    for job in found.values():
        job.folder.mkdir(parents=True)
    return found


def test_what_is_queued_is_not_submitted_again(cluster, jobs):
    cluster.driver({name: jobs[name] for name in "abc"})
    again = cluster.driver(jobs)
    assert [array.tasks for array in cluster.jobs] == [[["a", "b", "c"]], [["d"]]]
    assert cluster.later(again) == []
    cluster.answers = False  # which says nothing about them
    cluster.states.clear()
    assert cluster.later(cluster.driver(jobs)) == []
    cluster.answers = True
    cluster.driver(jobs)
    assert cluster.jobs[2].tasks == [["a", "b", "c", "d"]]


def test_a_run_that_kills_its_task_is_submitted_alone_and_then_given_up(cluster, jobs):
    driver = cluster.driver(jobs)
    cluster.end(0, 0, "FAILED", running="b")
    assert cluster.later(driver) == []
    assert cluster.jobs[1].tasks == [["a", "c", "d"], ["b"]]
    cluster.end(1, 1, "OUT_OF_MEMORY", running="b")
    (said,) = cluster.later(driver)
    assert said.run == "b"
    assert said.outside
    assert "its task died 2 times, the last one, 2_1, as OUT_OF_MEMORY on node1" in said.reason
    assert len(cluster.jobs) == 2


def test_a_run_that_comes_further_each_time_is_not_given_up(cluster, jobs):
    driver = cluster.driver({"a": jobs["a"]})
    for k in range(4):
        (jobs["a"].folder / record.CHECKPOINT).write_text("")
        os.utime(jobs["a"].folder / record.CHECKPOINT, (k + 1, k + 1))
        cluster.end(k, 0, "TIMEOUT", running="a")
        assert cluster.later(driver) == []
    assert len(cluster.jobs) == 5


def test_what_is_cancelled_ends_and_the_next_command_submits_it(cluster, jobs):
    driver = cluster.driver({"a": jobs["a"]})
    cluster.end(0, 0, "CANCELLED")
    (said,) = cluster.later(driver)
    assert "its task 1_0 was cancelled" in said.reason
    cluster.driver({"a": jobs["a"]})
    assert len(cluster.jobs) == 2


def test_runs_that_ended_while_nobody_looked_are_gathered(cluster, jobs):
    cluster.driver(jobs)
    (jobs["a"].folder / "whole").touch()
    Note("node1", "c", {"a": None, "b": ("ValueError: no", False)}).write(cluster.jobs[0].note(0))
    driver = cluster.driver(jobs)
    assert ends(cluster.said) == [Finished("a"), Failed("b", "ValueError: no")]
    assert sorted(driver.waiting) == ["c", "d"]
    assert len(cluster.jobs) == 1


def test_the_extra_is_named_in_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [x.partition(">")[0] for x in project["optional-dependencies"]["slurm"]] == ["submitit"]
