"""The engine `ray`: a real Ray, nodes without a disk in common, and what dies on them."""

import os
import random
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest
from tests.study import ray_cluster
from tests.study.ray_cluster import Cluster, wait
from tests.study.small import files, plan, run

from counterpoise.study import Engine, events
from counterpoise.study.settings import Training

ray = pytest.importorskip("ray")

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
    """Processes and a node die at random; runs that had begun go on from their checkpoints."""
    made = slow_plan(home, pause=0.03, epochs=12)
    run(made, home / "here")
    draws, killed = random.Random(0), []
    cluster.add("node3")

    def kill() -> None:
        wait(lambda: ray_cluster.worker_processes(), "runs")
        for _ in range(3):
            time.sleep(2)
            if found := ray_cluster.worker_processes():
                killed.append(draws.choice(found))
                os.kill(killed[-1], signal.SIGKILL)
        cluster.kill("node3")

    murderer = threading.Thread(target=kill)
    murderer.start()
    happened = run(on_ray(made, address=cluster.address, retries=10), home / "there")
    murderer.join()
    assert_all_finished(happened, 4)
    assert len(killed) == 3
    assert files(home / "there" / "runs") == files(home / "here" / "runs")
