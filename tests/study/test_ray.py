"""The engine `ray`: a real Ray, nodes without a disk in common, and what dies on them."""

import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.study import ray_cluster
from tests.study.ray_cluster import SRC, Cluster, wait
from tests.study.small import files, plan, run

from counterpoise.study import Engine, events, open_study, stream
from counterpoise.study import _stream as streaming
from counterpoise.study.plan_file import write
from counterpoise.study.settings import Training
from counterpoise.study.state import state_of

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("ray")  # two clusters at a time starve each other

NET = """
import time
from torch import nn

from parts import hidden


class Slow(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        first, last = nn.Linear(64, hidden), nn.Linear(hidden, num_classes)
        self.layers = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)

    def forward(self, x):
        if self.training:
            time.sleep({pause})
        return self.layers(x)


def make(norm, shape, num_classes):
    return Slow(num_classes)
"""


def on_ray(made, **changes):
    return replace(made, engine=Engine("ray", **changes))


@pytest.fixture(autouse=True)
def _cluster_of_our_own(monkeypatch):
    """Make a cluster where no address is given, whatever else runs on this machine."""
    monkeypatch.setenv("RAY_ADDRESS", "local")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes that do not see the driver's folder."""
    if why := ray_cluster.why_not():
        pytest.skip(why)
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.add("node1")
        made.add("node2")
        yield made
    finally:
        made.close()


@pytest.fixture
def home(cluster, tmp_path, monkeypatch):
    """A folder of the driver that no node sees, as the current one and with a cache of its own."""
    folder = cluster.hidden / tmp_path.name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(folder / "cache"))
    for name in ("slow", "parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def slow_plan(home, pause=0.01, epochs=8, **changes):
    (home / "slow.py").write_text(NET.replace("{pause}", str(pause)))
    (home / "parts.py").write_text("hidden = 12\n")
    training = Training("slow:make", epochs=epochs, lr=0.1, batch_size=64)
    return plan(training=training, **changes)


def ends(happened):
    return [e for e in happened if isinstance(e, events.Finished | events.Failed)]


def assert_all_finished(happened, number):
    found = ends(happened)
    assert [e for e in found if isinstance(e, events.Failed)] == []
    assert len({e.run for e in found}) == number


@pytest.mark.slow
def test_runs_on_this_machine_write_the_bytes_of_the_local_engine(finished, tmp_path):
    happened = run(on_ray(plan()), tmp_path / "study", workers=2)
    assert_all_finished(happened, 4)
    assert files(tmp_path / "study" / "runs") == files(finished / "runs")
    assert not ray.is_initialized()


@pytest.mark.slow
def test_nodes_without_a_disk_in_common_write_the_same_bytes(cluster, home):
    made = slow_plan(home, pause=0)
    run(made, home / "here")
    happened = run(on_ray(made, address=cluster.address), home / "there")
    assert_all_finished(happened, 4)
    assert files(home / "there" / "runs") == files(home / "here" / "runs")
    for node in ("node1", "node2"):
        entries = [p for p in cluster.cache(node).iterdir() if (p / "entry.json").exists()]
        assert len(entries) == 1  # the samples, once for all processes of the node


@pytest.mark.slow
def test_what_dies_is_done_again_and_no_byte_is_another(cluster, home):
    """Processes and a node are killed; runs that had begun go on from their checkpoints."""
    made = slow_plan(home, pause=0.03, epochs=14)
    run(made, home / "here")
    draws, killed = random.Random(0), []
    cluster.add("node3")

    def checkpoints() -> list[Path]:
        return list((home / "there" / "runs").glob("*/checkpoint.safetensors"))

    def kill() -> None:
        for _ in range(3):
            wait(
                lambda: checkpoints() and ray_cluster.worker_processes(cluster.root), "a checkpoint"
            )
            killed.append(draws.choice(ray_cluster.worker_processes(cluster.root)))
            os.kill(killed[-1], signal.SIGKILL)
            time.sleep(1.5)
        cluster.kill("node3")

    murderer = threading.Thread(target=kill)
    murderer.start()
    happened = run(on_ray(made, address=cluster.address, retries=10), home / "there")
    murderer.join()
    assert_all_finished(happened, 4)
    assert len(killed) == 3
    assert files(home / "there" / "runs") == files(home / "here" / "runs")
    begun = [e.run for e in happened if isinstance(e, events.Started)]
    again = {name for name in begun if begun.count(name) > 1}
    assert again
    epochs = [(e.run, e.row["epoch"]) for e in happened if isinstance(e, events.Epoch)]
    assert any(epochs.count((name, 0)) == 1 for name in again)  # one at least was resumed


@pytest.mark.slow
def test_a_run_on_two_machines_is_that_on_two_devices(cluster, home):
    """The nets are ours, then the user's; samples get to both machines."""
    for name, made in {
        "ours": plan(seeds=(0,), training=Training("mlp", epochs=2, lr=0.1, batch_size=64)),
        "own": slow_plan(home, pause=0, epochs=2, seeds=(0,)),
    }.items():
        on_one = replace(made, training=replace(made.training, devices=2))
        run(on_one, home / f"{name}-here", workers=1)
        happened = run(on_ray(made, address=cluster.address, nodes=2), home / f"{name}-there")
        assert_all_finished(happened, 2)
        here, there = (open_study(home / f"{name}-{k}").records for k in ("here", "there"))
        for a, b in zip(there, here, strict=True):
            assert a.run["devices"] == b.run["devices"] == [2]
            for file in ("history.jsonl", "predictions.npz", "weights.safetensors"):
                assert (a.folder / file).read_bytes() == (b.folder / file).read_bytes()


@pytest.mark.slow
def test_a_machine_that_is_lost_ends_the_run_on_the_other_one_and_it_is_done_again(cluster, home):
    """Once as it has begun; it goes on from its checkpoint when there are two machines again."""
    made = slow_plan(home, pause=0.05, epochs=12, losses=("cross_entropy",), seeds=(0,))

    def kill() -> None:
        wait(lambda: list((home / "there" / "runs").glob("*/checkpoint.*")), "a checkpoint")
        cluster.kill("node2")
        cluster.add("node3")

    murderer = threading.Thread(target=kill)
    murderer.start()
    try:
        happened = run(on_ray(made, address=cluster.address, nodes=2), home / "there")
    finally:
        murderer.join()
        cluster.kill("node3")
        cluster.add("node2")
    assert_all_finished(happened, 1)
    starts = len([e for e in happened if isinstance(e, events.Started)])
    assert 2 <= starts <= 1 + Engine().retries  # it may begin before all know of the loss
    epochs = [e.row["epoch"] for e in happened if isinstance(e, events.Epoch)]
    assert epochs.count(0) == 1
    assert epochs[-1] == 12


@pytest.mark.slow
@pytest.mark.parametrize("stored", [False, True])
def test_a_driver_that_is_killed_loses_nothing_that_is_finished(cluster, home, tmp_path, stored):
    made = slow_plan(home, pause=0.02, epochs=8, seeds=(0, 1, 2))
    run(made, home / "here")
    storage = tmp_path / "shared" if stored else ""
    (home / "plan.toml").write_text(
        write(on_ray(made, address=cluster.address, storage=str(storage)))
    )
    words = [sys.executable, "-m", "counterpoise", "compare", "plan.toml", "--out", "there"]
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    driver = subprocess.Popen(
        words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    records = storage if stored else home / "there"
    try:
        wait(lambda: len(list(records.glob("runs/*/run.json"))) > 1, "two records", 300)
    finally:
        driver.kill()
        driver.communicate()
    before = {p.parent.name: p.stat().st_mtime_ns for p in records.glob("runs/*/run.json")}
    assert 2 <= len(before) < 6
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert files(home / "there" / "runs") == files(home / "here" / "runs")
    after = {p.parent.name: p.stat().st_mtime_ns for p in records.glob("runs/*/run.json")}
    assert len(after) == 6
    assert before.items() <= after.items()  # none was done twice
    shown = subprocess.run(
        [*words[:3], "show", str(records), "--watch"], env=env, capture_output=True, text=True
    )
    assert "6 of 6 runs done" in shown.stdout, shown.stderr


@pytest.mark.slow
def test_what_a_module_remembers_does_not_reach_the_next_run(tmp_path, monkeypatch):
    """A package without __init__.py is sent, too; nothing of it stays behind."""
    package = tmp_path / "nets"
    package.mkdir()
    (package / "growing.py").write_text(
        "from torch import nn\nmade = 0\n"
        "def make(norm, shape, num_classes):\n"
        "    global made\n    made += 1\n"
        "    first, last = nn.Linear(64, 8 + made), nn.Linear(8 + made, num_classes)\n"
        "    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)\n"
    )
    monkeypatch.chdir(tmp_path)
    made = plan(training=Training("nets.growing:make", epochs=1, lr=0.1, batch_size=64))
    run(made, tmp_path / "here")
    temporary = Path(tempfile.mkdtemp())  # of the workers; sockets there need a short path
    ours = f"counterpoise-{socket.gethostname()}-*"
    (temporary / ours.replace("*", "4194305-killed")).mkdir()  # no process has this number
    monkeypatch.setenv("RAY_TMPDIR", tempfile.gettempdir())
    monkeypatch.setenv("TMPDIR", str(temporary))
    assert_all_finished(run(on_ray(made), tmp_path / "there", workers=1), 4)
    assert files(tmp_path / "there" / "runs") == files(tmp_path / "here" / "runs")
    assert list(temporary.glob(ours)) == []
    shutil.rmtree(temporary)


@pytest.mark.slow
def test_a_rerun_does_not_take_the_old_records_out_of_the_storage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = on_ray(plan(on_other_environment="rerun", seeds=(0,)), storage="store")
    run(made, tmp_path / "study", workers=1)
    assert len(list((tmp_path / "store" / "runs").glob("*/run.json"))) == 2
    here = streaming.run_environment()
    monkeypatch.setattr(streaming, "run_environment", lambda: {**here, "torch": "1.0"})
    happened = run(made, tmp_path / "study", workers=1)
    assert len({e.run for e in happened if isinstance(e, events.Started)}) == 2
    assert state_of("store").finished


@pytest.mark.slow
def test_workers_write_into_a_bucket(tmp_path, finished, monkeypatch):
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    s3fs = pytest.importorskip("s3fs")
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        fs = s3fs.S3FileSystem()
        fs.mkdir("studies")
        happened = run(on_ray(plan(), storage="s3://studies/one"), tmp_path / "study", workers=2)
        assert_all_finished(happened, 4)
        assert files(tmp_path / "study" / "runs") == files(finished / "runs")
        assert len(fs.glob("studies/one/runs/*/run.json")) == 4
        assert state_of("s3://studies/one").done == 4
        again = run(on_ray(plan(), storage="s3://studies/one"), tmp_path / "other", workers=2)
        assert not [e for e in again if isinstance(e, events.Started)]  # all came out of it
        assert files(tmp_path / "other" / "runs") == files(finished / "runs")
        with pytest.raises(ValueError, match=r"s3://nowhere/one must be .* --set engine.storage"):
            run(on_ray(plan(), storage="s3://nowhere/one"), tmp_path / "third")
        assert not (tmp_path / "third").exists()
    finally:
        server.stop()


@pytest.mark.slow
def test_a_machine_that_is_full_fails_its_runs_in_a_line(cluster, home):
    cluster.kill("node1")
    cluster.kill("node2")
    full = f"mount -t tmpfs -o size=8k none {cluster.cache('full')}"
    try:
        cluster.add("full", setup=full)
        made = slow_plan(home, pause=0, seeds=(0,))
        happened = run(on_ray(made, address=cluster.address), home / "there")
        assert {e.reason for e in ends(happened)} == {
            f"the samples cannot be stored in {cluster.cache('full')}: No space left on device; "
            "make room there, or set COUNTERPOISE_CACHE to another disk (on full)"
        }
    finally:
        cluster.kill("full")
        cluster.add("node1")
        cluster.add("node2")
    assert_all_finished(run(on_ray(made, address=cluster.address), home / "there"), 2)


@pytest.mark.slow
def test_a_machine_with_another_version_is_refused(cluster, home):
    other = cluster.root / "other"
    shutil.copytree(SRC / "counterpoise", other / "counterpoise")
    first = other / "counterpoise" / "__init__.py"
    first.write_text(first.read_text().replace('__version__ = "', '__version__ = "9.'))
    cluster.add("newer", PYTHONPATH=str(other))
    try:
        with pytest.raises(ValueError, match=r"newer has counterpoise 9\..*, but this machine has"):
            run(on_ray(slow_plan(home, pause=0), address=cluster.address), home / "there")
    finally:
        cluster.kill("newer")
    assert not (home / "there").exists()


@pytest.mark.slow
def test_what_raises_fails_with_its_place_and_the_others_finish(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(
        "from counterpoise import losses\n"
        "def loss(counts):\n    raise RuntimeError('no such loss')\n"
    )
    monkeypatch.chdir(tmp_path)
    made = plan(losses=("cross_entropy", "broken:loss"), seeds=(0,))
    happened = run(on_ray(made, gpus=0), tmp_path / "study", workers=2)
    found = {type(e): e for e in ends(happened)}
    reason = found[events.Failed].reason
    assert reason.startswith("RuntimeError: no such loss (")
    assert f"(on {socket.gethostname()})" in reason
    assert not found[events.Failed].outside
    assert found[events.Finished].run.startswith("none-cross_entropy")


def test_needs_that_no_machine_meets_and_gpus_that_stay_idle_are_told(tmp_path):
    ray.init(
        "local", num_cpus=2, num_gpus=2, log_to_driver=False, logging_level=40
    )  # it takes our word
    try:
        happened = stream({tmp_path / "study": on_ray(plan(seeds=(0,)), cpus=64)})
        notices = (e.text for e in happened if isinstance(e, events.Notice))
        where, *said = list(itertools.islice(notices, 3))
        happened.close()
    finally:
        ray.shutdown()
    assert re.fullmatch(r"Ray at .+:\d+: 1 machine with 2 CPUs and 2 GPUs", where)
    assert [text.partition(":")[0] for text in said] == [
        "waiting for a machine with room for a run",
        "the machines have 2 GPUs, and runs use none of them",
    ]
    assert "64, 0 and any, but the machines of the cluster have 2, 2 and" in said[0]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (1, ""),
        (2, "waiting for more machines: engine.nodes asks for 2 with room for a run, and"),
    ],
)
def test_fewer_machines_than_a_run_needs_are_told(monkeypatch, nodes, said):
    from counterpoise.study.engines._ray_cluster import too_much

    small, large = ({"CPU": k, "memory": 1e9} for k in (1.0, 8.0))
    there = [{"Alive": True, "Resources": r} for r in (small, large)]
    monkeypatch.setattr(ray, "nodes", lambda: [*there, {"Alive": False, "Resources": large}])
    found = too_much(Engine("ray", cpus=4, nodes=nodes))
    assert found.startswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        (Engine("ray", address="127.0.0.1:1"), r"a Ray cluster must answer at 127.0.0.1:1, but"),
        (Engine("ray", address="ray://somewhere:10001"), "ray job submit"),
        (Engine("ray", storage="nosuch://x"), "nosuch://x must be a place that can be reached"),
    ],
)
def test_what_cannot_be_reached_is_told_before_anything_is_written(tmp_path, engine, says):
    with pytest.raises(ValueError, match=says):
        run(replace(plan(), engine=engine), tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_ray_that_is_not_installed_is_told(tmp_path):
    code = (
        "import sys; sys.modules['ray'] = None; from counterpoise.cli import main; "
        "sys.argv = ['counterpoise', 'compare', 'digits', '--engine', 'ray']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "pip install 'counterpoise[ray]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
