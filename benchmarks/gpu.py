"""All that is measured on a GPU, by one command, within ten minutes, as tables.

    python benchmarks/gpu.py                       into benchmarks/results/, named for the device
    python benchmarks/gpu.py --only losses --minutes 3
    python benchmarks/gpu.py --device cpu --only exercise --minutes 1    a trial without a GPU

Five parts, one process each, so that one that fails or runs out of its time costs no other: the
tests that need a GPU (`pytest -m gpu`), the losses (`losses.py`), the norms (`norms.py`), a
training step of the exercise's nets with our layers and torch's, in both memory layouts, and what
is trained as one batch of models against the same trained apart (`stacked.py`).
"""

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

from counterpoise import losses, models, norms

HERE = Path(__file__).parent
SHARES = {  # of the time
    "tests": 0.25,
    "losses": 0.2,
    "norms": 0.2,
    "exercise": 0.1,
    "stacked": 0.25,
}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
NETS = {  # the norm, by ours and by torch's
    "plain": (None, None),
    "LayerNorm": (norms.ALL["layer"], lambda shape: nn.LayerNorm(list(shape))),
    "GroupNorm": (norms.ALL["group"], lambda shape: nn.GroupNorm(2, shape[0])),
}
SIZES = {"cuda": (256, 20, 5), "cpu": (8, 1, 2)}  # images a step, steps in a turn, turns


def command(part: str, device: str, out: Path, name: str) -> list[str]:
    """Return the command of a part."""
    save = ["--save", str(out / f"{part}_{name}.json")]
    if part == "tests":
        return [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(HERE.parent / "tests")]
    if part == "exercise":
        return [sys.executable, __file__, "--device", device, "--exercise", *save]
    return [sys.executable, str(HERE / f"{part}.py"), "--device", device, *save]


def run(part: str, device: str, out: Path, name: str, seconds: float) -> str:
    """Run a part, and return its row of the summary."""
    begun = time.perf_counter()
    try:
        status = subprocess.run(command(part, device, out, name), timeout=seconds).returncode
        said = "done" if status == 0 else f"failed with exit code {status}"
    except subprocess.TimeoutExpired:
        said = f"stopped after {seconds:.0f} s"
    return f"| {part} | {said} | {time.perf_counter() - begun:.0f} s |"


def exercise(device: str, save: Path) -> None:
    """Time training steps of the exercise's nets, in turns; medians, in milliseconds."""
    rows = {}
    batch, turn, rounds = SIZES[device]
    for net, makers in NETS.items():
        for layout, memory in LAYOUTS.items():
            steps = {
                whose: _step(norm, memory, device, batch)
                for whose, norm in zip(("ours", "torch"), makers, strict=True)
            }
            times: dict[str, list[float]] = {whose: [] for whose in steps}
            for _ in range(rounds):
                for whose, step in steps.items():
                    step()
                    _wait(device)
                    begun = time.perf_counter()
                    for _ in range(turn):
                        step()
                    _wait(device)
                    times[whose].append(1e3 * (time.perf_counter() - begun) / turn)
            rows[f"{net}, {layout}"] = {k: round(statistics.median(t), 3) for k, t in times.items()}
    lines = [f"# The exercise's nets, {batch} images a step: {_where(device)}", ""]
    lines += ["| net | ours, ms | torch's layers, ms | ratio |", "| --- | ---: | ---: | ---: |"]
    for label, ms in rows.items():
        ratio = ms["ours"] / ms["torch"]
        lines.append(f"| {label} | {ms['ours']:.2f} | {ms['torch']:.2f} | {ratio:.2f} |")
    print("\n".join(lines), flush=True)
    about = {"where": _where(device), "torch": torch.__version__, "machine": platform.machine()}
    save.write_text(json.dumps({**about, "ms": rows}, indent=1) + "\n")
    save.with_suffix(".md").write_text("\n".join(lines) + "\n")


def _step(norm, memory, device, batch):
    torch.manual_seed(0)
    net = models.DeeperCNN(norm, convs_per_block=8).to(device, memory_format=memory)
    images = torch.randn(batch, 1, 28, 28, device=device).contiguous(memory_format=memory)
    targets = torch.randint(10, (batch,), device=device)
    loss = losses.FocalLoss(2.0, torch.ones(10)).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        loss(net(images), targets).backward()
        optimizer.step()

    return step


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _where(device: str) -> str:
    return "CPU" if device == "cpu" else torch.cuda.get_device_name()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=list(SIZES))
    parser.add_argument("--only", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--exercise", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; --device cpu is for a trial")
    if arguments.exercise:
        exercise(arguments.device, arguments.save)
        return
    name = re.sub(r"\W+", "_", _where(arguments.device)).lower()
    arguments.out.mkdir(parents=True, exist_ok=True)
    total = sum(SHARES[part] for part in arguments.only)
    rows = [
        run(
            part,
            arguments.device,
            arguments.out,
            name,
            60 * arguments.minutes * SHARES[part] / total,
        )
        for part in arguments.only
    ]
    print("\n".join(["", "| part | outcome | time |", "| --- | --- | ---: |", *rows]))


if __name__ == "__main__":
    main()
