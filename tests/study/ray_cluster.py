"""A Ray cluster on this machine whose nodes do not see the driver's folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

os.environ["RAY_AUTH_MODE"] = "disabled"  # before Ray is imported: all clusters alike
RAY = Path(sys.executable).with_name("ray")
SRC = Path(__file__).parents[2] / "src"


class Cluster:
    """A head without processors, and nodes of one each, in mount namespaces of their own.

    An empty file system lies over `hidden` there, as if it were on another machine's disk.
    """

    def __init__(self, root: Path) -> None:
        from ray.cluster_utils import Cluster as Simulated

        self.root, self.hidden = root, root / "driver"
        self.hidden.mkdir(parents=True)
        self.nodes: dict[str, subprocess.Popen] = {}
        # Of the head, whose tasks look at it.
        others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(SRC), *filter(None, others)]))
        os.environ["RAY_health_check_timeout_ms"] = "60000"  # noqa: SIM112 as Ray spells it
        self.env = {**os.environ, "RAY_DISABLE_MEMORY_MONITOR": "1"}
        self.head = Simulated(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self.address = self.head.address

    def cache(self, name: str) -> Path:
        """The cache's folder of a node."""
        return self.root / "caches" / name

    def add(self, name: str, cpus: int = 1, setup: str = "true", **env: str) -> None:
        """Start a node, and wait until it is there."""
        before = self.cpus()
        self.cache(name).mkdir(parents=True, exist_ok=True)
        script = (
            f"hostname {name} && mount -t tmpfs none {self.hidden} && {setup} && exec {RAY} start "
            f"--address={self.address} --num-cpus={cpus} --block --disable-usage-stats"
        )
        with (self.root / f"{name}.log").open("w") as log:
            self.nodes[name] = subprocess.Popen(
                ["unshare", "-m", "-u", "sh", "-c", script],
                env={**self.env, "COUNTERPOISE_CACHE": str(self.cache(name)), **env},
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait(lambda: self.cpus() == before + cpus, f"node {name}")

    def kill(self, name: str) -> None:
        """Kill a node with all its processes."""
        node = self.nodes.pop(name)
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def cpus(self) -> int:
        """The processors of the nodes that are there."""
        import ray

        with connected(self.address):
            return sum(int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"])

    def close(self) -> None:
        """End all."""
        for name in list(self.nodes):
            self.kill(name)
        self.head.shutdown()


class connected:
    """Connect to a cluster, unless this process is already."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __enter__(self) -> None:
        import ray

        self.ours = not ray.is_initialized()
        if self.ours:
            ray.init(self.address, log_to_driver=False, logging_level=40)

    def __exit__(self, *error: object) -> None:
        import ray

        if self.ours:
            ray.shutdown()


def wait(condition, what: str, seconds: float = 240) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def why_not() -> str:
    """Why there can be no such cluster here; "" if there can."""
    pytest.importorskip("ray")
    if shutil.which("unshare") is None or os.geteuid():
        return "nodes without a disk in common need root and unshare"
    done = subprocess.run(["unshare", "-m", "-u", "true"], capture_output=True)
    return "" if done.returncode == 0 else "unshare is not allowed here"


def worker_processes(root: Path) -> list[int]:
    """The processes of a cluster that do a run just now; other tests may have one, too."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
            ours = command and f"={root}/" in (entry / "environ").read_text(errors="replace")
        except OSError:
            continue
        if command.startswith(b"ray::_do") and ours:
            found.append(int(entry.name))
    return found
