"""Runs in processes of their own: all end, a killed one is tried again, a raising one is told."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from counterpoise.study.engines import local
from counterpoise.study.engines._gpus import MEMORY_KNOWN_AFTER, Gpus
from counterpoise.study.engines.local import run_all
from counterpoise.study.events import Epoch, Failed, Finished, Started


def work(payload, emit):
    kind, folder = payload
    emit(Epoch(kind, {"threads": torch.get_num_threads()}))
    if kind == "raise":
        raise ValueError("no such thing")
    if kind == "exit":
        raise SystemExit(0)
    tried = len(list(Path(folder).iterdir()))
    (Path(folder) / str(tried)).touch()
    if kind == "killed" or (kind == "killed once" and not tried):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "sleep":
        time.sleep(60)


def test_each_run_ends_and_one_death_costs_one_run(tmp_path):
    kinds = ["fine", "raise", "exit", "killed", "killed once"]
    for kind in kinds:
        (tmp_path / kind).mkdir()
    runs = {kind: (kind, str(tmp_path / kind)) for kind in kinds}
    events = list(run_all(work, runs, workers=2))
    ends = {e.run: e for e in events if isinstance(e, Finished | Failed)}
    assert {run: type(e) for run, e in ends.items()} == {
        "fine": Finished,
        "raise": Failed,
        "exit": Failed,
        "killed": Failed,
        "killed once": Finished,
    }
    assert ends["exit"].reason.startswith("SystemExit: 0 (")
    assert ends["raise"].reason.startswith("ValueError: no such thing (")
    assert (ends["raise"].outside, ends["killed"].outside) == (False, True)
    assert "exit code -9" in ends["killed"].reason
    starts = [e.run for e in events if isinstance(e, Started)]
    assert [starts.count(kind) for kind in kinds] == [1, 1, 1, 2, 2]
    threads = {e.row["threads"] for e in events if isinstance(e, Epoch)}
    assert threads == {1}  # whatever the number of workers: sums are taken in the same order


def test_a_server_that_is_killed_while_it_starts_a_process_is_started_again(tmp_path, monkeypatch):
    """Its death can fall between the asking and the answer."""
    (tmp_path / "fine").mkdir()
    real, deaths = forkserver.read_signed, []

    def dies_once(descriptor):
        if not deaths:
            deaths.append(forkserver._forkserver._forkserver_pid)
            os.kill(deaths[0], signal.SIGKILL)
            raise EOFError("unexpected EOF")
        return real(descriptor)

    monkeypatch.setattr(forkserver, "read_signed", dies_once)
    events = list(run_all(work, {"fine": ("fine", str(tmp_path / "fine"))}, workers=1))
    assert deaths
    assert [e for e in events if isinstance(e, Finished | Failed)] == [Finished("fine")]


def test_leaving_early_ends_the_processes(tmp_path):
    (tmp_path / "sleep").mkdir()
    events = run_all(work, {"sleep": ("sleep", str(tmp_path / "sleep"))}, workers=1)
    while not isinstance(next(events), Epoch):
        pass
    start = time.perf_counter()
    events.close()
    assert time.perf_counter() - start < 30


class TwoGpus:
    """10 GB each; a process takes 1 GB at once and 3 GB once it trains."""

    def __init__(self):
        self.gpus = None
        self.gpus = Gpus(["a", "b"], self.free)

    def free(self, k):
        runs = self.gpus.assigned if self.gpus else {}
        here = [run for run, at in runs.items() if at == "ab"[k]]
        return 10 - sum(3 if self.gpus.epochs[run] >= MEMORY_KNOWN_AFTER else 1 for run in here)


def test_a_gpu_takes_as_many_runs_as_were_seen_to_fit():
    gpus = TwoGpus().gpus
    assert [gpus.assign("1"), gpus.assign("2"), gpus.assign("3")] == ["a", "b", None]
    for _ in range(MEMORY_KNOWN_AFTER):
        gpus.on_event(Epoch("2", {"epoch": 0}))
        gpus.on_event(Epoch("2", {"epoch": 1}))
    assert gpus.assign("3") == "b"  # 7 GB are free there, and one was seen to take 3
    assert gpus.assign("4") is None  # nobody knows yet what the others will take
    for _ in range(MEMORY_KNOWN_AFTER):
        gpus.on_event(Epoch("3", {"epoch": 1}))
    assert gpus.assign("4") is None  # 4 GB are free, and a half more than 3 is to be kept
    gpus.on_event(Finished("2"))
    assert gpus.assign("4") == "b"


def test_as_many_runs_as_are_asked_for_share_the_gpus(tmp_path, monkeypatch):
    assigned = []

    class Full(Gpus):
        def assign(self, run, at_once):
            assigned.append(super().assign(run, at_once))
            return assigned[-1]

    monkeypatch.setattr(local, "_gpus", lambda: Full(["0", "1"], lambda _: 0))
    runs = {str(k): ("fine", str(tmp_path)) for k in range(4)}
    ends = [e for e in run_all(work, runs, workers=4) if isinstance(e, Finished | Failed)]
    assert sorted(e.run for e in ends if isinstance(e, Finished)) == ["0", "1", "2", "3"]
    assert assigned[:4] == ["0", "1", "0", "1"]


def end_wildly(kind, emit):
    if kind == "long":
        raise ValueError("q" * 100_000)
    if kind == "stop":
        raise KeyboardInterrupt("\x1b[2J")


def test_whatever_ends_a_run_is_one_reason_of_bearable_length(capfd):
    ends = {e.run: e for e in run_all(end_wildly, {"long": "long", "stop": "stop"}, workers=1)}
    assert type(ends["long"]) is type(ends["stop"]) is Failed
    assert len(ends["long"].reason) < 3000
    assert ends["stop"].reason.startswith("KeyboardInterrupt")
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_no_process_imports_from_the_current_folder_by_itself(tmp_path):
    """Not even modules that Python's own need, such as `signal` in the fork server."""
    for name in ("secrets", "signal", "random", "tempfile", "selectors"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__)"
        )
    command = [sys.executable, "-P", "-m", "counterpoise", "compare", "digits", "--model", "mlp"]
    command += ["--epochs", "1", "--seeds", "1", "--lr", "0.1", "--out", "study", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
