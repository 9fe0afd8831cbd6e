"""Runs per minute by engine and workers, and what a run costs the process that drives them.

    python benchmarks/scale.py                     200 tiny runs: local and ray, 1, 2 and 4 workers
    python benchmarks/scale.py --runs 2000 --engines ray --workers 4
    python benchmarks/scale.py --simulate          10,000 runs on 1,000 workers, by these figures

A run is one epoch of a small net on the digits. The driver is a process of its own, whose CPU time
(all threads, without fsync), memory and wall time are counted from the first tenth of the runs to
the last; its time in fsync is told apart. A run's overhead is its wall time, times the workers that
the cores can keep busy, less what the same run takes without an engine.

The simulation draws the lengths of runs (mean `--minutes`), and serves their ends one after another
with the driver's wall time a run: it says how busy the driver is, and how long workers wait.
"""

import argparse
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile

CODE = """
import json, os, resource, sys, time
from pathlib import Path
from counterpoise.study import Engine, Plan, Training, stream
from counterpoise.study.events import Failed, Finished, Planned

engine, workers, runs, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
synced, of_cpu, real = 0.0, 0.0, os.fsync
def fsync(descriptor):
    global synced, of_cpu
    begun, used = time.perf_counter(), time.thread_time()
    real(descriptor)
    synced += time.perf_counter() - begun
    of_cpu += time.thread_time() - used
os.fsync = fsync

def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x.split()[1] for x in lines if x.startswith("RssAnon"))) / 1024

plan = Plan("digits", norms=("none",), losses=("cross_entropy",), seeds=tuple(range(runs)),
            references=False, engine=Engine(engine),
            training=Training("mlp", epochs=1, batch_size=256, lr=0.1, watch=()))
done, rows = 0, []
for event in stream({folder: plan}, workers=workers):
    assert not isinstance(event, Failed), event
    if isinstance(event, Planned):
        start, used, held = time.perf_counter(), time.process_time(), memory()
    if isinstance(event, Finished):
        done += 1
        if done == max(1, runs // 10):  # processes have started by now
            start, used, early = time.perf_counter(), time.process_time(), memory()
            synced, of_cpu, first = 0.0, 0.0, done
wall, cpu = time.perf_counter() - start, time.process_time() - used - of_cpu
seconds = [json.loads(p.read_text())["seconds"] for p in folder.glob("runs/*/timing.json")]
print(json.dumps({"runs": done - first, "wall": wall, "cpu": cpu, "synced": synced,
                  "mb": early, "mb_end": memory(), "run": sorted(seconds)[len(seconds) // 2]}))
"""


def measure(engine: str, workers: int, runs: int) -> dict[str, float]:
    """Return what a study of so many tiny runs took, a driver's process each time."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", CODE, engine, str(workers), str(runs), f"{folder}/study"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def simulate(runs: int, workers: int, minutes: float, driver: float) -> tuple[float, float, float]:
    """Return hours in all, the share of them in which the driver is busy, and workers' idle share.

    Args:
        runs: how many.
        workers: how many.
        minutes: mean of a run.
        driver: seconds of the driver a run, one after another.
    """
    draws = random.Random(0)
    ends: list[float] = []
    free, idle, left = 0.0, 0.0, runs
    lengths = [60 * minutes * draws.uniform(0.5, 1.5) for _ in range(runs)]
    for _ in range(min(workers, runs)):  # submitting costs the driver as well
        free += driver / 2
        heapq.heappush(ends, free + lengths[left - 1])
        left -= 1
    while ends:
        end = heapq.heappop(ends)
        free = max(free, end) + driver
        idle += free - end
        if left:
            heapq.heappush(ends, free + lengths[left - 1])
            left -= 1
    return free / 3600, runs * driver / free, idle / (workers * free)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--engines", nargs="+", default=["local", "ray"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 1, 0.1])
    a = parser.parse_args()
    cores = os.cpu_count() or 1
    print(f"{a.runs:,} runs of one epoch on the digits, {cores} cores")
    print(
        f"{'engine':7}{'workers':>8}{'runs/min':>10}{'run, ms':>9}{'overhead':>10}"
        f"{'driver CPU':>12}{'fsync':>8}{'wall':>8}{'memory, MB':>16}"
    )
    each = 0.0
    for engine in a.engines:
        for workers in a.workers:
            m = measure(engine, workers, a.runs)
            per = 1000 / m["runs"]
            busy = min(workers, cores)
            overhead = m["wall"] * per * busy - 1000 * m["run"]
            print(
                f"{engine:7}{workers:8}{60 * m['runs'] / m['wall']:10.0f}{1000 * m['run']:9.0f}"
                f"{overhead:7.0f} ms{m['cpu'] * per:9.2f} ms{m['synced'] * per:5.1f} ms"
                f"{m['wall'] * per:5.0f} ms{m['mb']:8.0f} -> {m['mb_end']:.0f}",
                flush=True,
            )
            each = (m["cpu"] + m["synced"]) / m["runs"]
    if a.simulate:
        print(f"\n10,000 runs on 1,000 workers, {1000 * each:.1f} ms of the driver a run")
        for minutes in a.minutes:
            hours, busy, idle = simulate(10_000, 1_000, minutes, each)
            print(
                f"runs of {minutes:g} min: {hours:.2f} h, driver busy {busy:.1%}, workers waiting "
                f"for it {idle:.2%}"
            )


if __name__ == "__main__":
    main()
