"""Runs in processes of their own: all end, a killed one is tried again, a raising one is told."""

import os
import signal
import time
from multiprocessing import forkserver
from pathlib import Path

import torch

from counterpoise.study.engines import run_all


def work(payload, emit):
    kind, folder = payload
    emit({"threads": torch.get_num_threads()})
    if kind == "raise":
        raise ValueError("no such thing")
    tried = len(list(Path(folder).iterdir()))
    (Path(folder) / str(tried)).touch()
    if kind == "killed" or (kind == "killed once" and not tried):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "sleep":
        time.sleep(60)


def test_each_run_ends_and_one_death_costs_one_run(tmp_path):
    kinds = ["fine", "raise", "killed", "killed once"]
    for kind in kinds:
        (tmp_path / kind).mkdir()
    runs = {kind: (kind, str(tmp_path / kind)) for kind in kinds}
    events = list(run_all(work, runs, workers=2))
    ends = {e.run: e for e in events if e.kind in ("finished", "failed")}
    assert {run: e.kind for run, e in ends.items()} == {
        "fine": "finished",
        "raise": "failed",
        "killed": "failed",
        "killed once": "finished",
    }
    assert ends["raise"].value == "ValueError: no such thing"
    assert "exit code -9" in ends["killed"].value
    starts = [e.run for e in events if e.kind == "started"]
    assert [starts.count(kind) for kind in kinds] == [1, 1, 2, 2]
    threads = {e.value["threads"] for e in events if e.kind == "news"}
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
    assert [e.kind for e in events if e.kind in ("finished", "failed")] == ["finished"]


def test_leaving_early_ends_the_processes(tmp_path):
    (tmp_path / "sleep").mkdir()
    events = run_all(work, {"sleep": ("sleep", str(tmp_path / "sleep"))}, workers=1)
    while next(events).kind != "news":
        pass
    start = time.perf_counter()
    events.close()
    assert time.perf_counter() - start < 30
