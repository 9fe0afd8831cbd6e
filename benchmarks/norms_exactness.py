"""Error and time of each norm's implementations on a CPU, by layout and size; prints Markdown.

    python benchmarks/norms_exactness.py [--seconds 0.2]

The error is the largest one of an output against float64, of standard normal numbers around a mean
of 0 and of 1e6, all rounded to float32 first. Times are of forward and backward on one thread: the
lower fifth of the thread's own CPU time, in turns, in milliseconds. `taken` is what runs unless
`norms.backend` says otherwise; `torch` is torch.nn in the same layout.
"""

import argparse
import time

import torch
from torch import nn

from counterpoise import norms
from counterpoise.study.engines.worker import tune_process
from counterpoise.study.environment import processor

SIZES = [(32, 8, 14, 14), (64, 16, 28, 28), (64, 64, 28, 28), (8192, 768)]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def members(shape):
    """(name, ours, torch's) for what normalizes tensors of a shape (N, ...)."""
    channels, whole = shape[1], shape[1:]
    pairs = [("LayerNorm", norms.LayerNorm(whole), nn.LayerNorm(whole))]
    if len(shape) == 2:
        return pairs
    ours = norms.InstanceNorm(channels, affine=True)
    return [
        ("GroupNorm(8)", norms.GroupNorm(8, channels), nn.GroupNorm(8, channels)),
        ("InstanceNorm", ours, nn.GroupNorm(channels, channels)),
        *pairs,
    ]


def error(call, norm, x):
    """The largest one of an output, against the same module in float64."""
    with torch.no_grad(), norms.backend("reference"):
        exact = norm.double()(x.double())
        norm.to(x.dtype)
    with torch.no_grad():
        return (call(x).double() - exact).abs().max().item()


def times(calls, x, grad, seconds):
    taken = {name: [] for name in calls}
    for name in calls:
        calls[name](x).backward(grad)
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or len(taken["torch"]) < 5:
        for name, call in calls.items():
            x.grad = None
            begun = time.thread_time()
            call(x).backward(grad)
            taken[name].append(1e3 * (time.thread_time() - begun))
    return {name: sorted(ms)[len(ms) // 5] for name, ms in taken.items()}


def within(name, module):
    def call(x):
        with norms.backend(name):
            return module(x)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.2, help="for each figure, about")
    seconds = parser.parse_args().seconds
    tune_process(1)
    torch.manual_seed(0)
    print(f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}\n")
    names = ("cpu", "eager", "torch")
    heads = [f"{n}, {what}" for what in ("error at 0", "error at 1e6", "ms") for n in names]
    print("| norm | shape | layout | dtype | taken |", " | ".join(heads), "|")
    print("| --- " * (5 + len(heads)) + "|")
    for shape in SIZES:
        for layout in LAYOUTS if len(shape) == 4 else ["contiguous"]:
            for dtype in (torch.float32, torch.bfloat16):
                for name, ours, theirs in members(shape):
                    x, far, grad = (
                        (torch.randn(shape) + mean)
                        .to(dtype)
                        .contiguous(memory_format=LAYOUTS[layout])
                        for mean in (0, 1e6, 0)
                    )
                    ours, theirs = ours.to(dtype), theirs.to(dtype)
                    calls = {n: within(n, ours) for n in names[:2]} | {"torch": theirs}
                    cells = [f"{error(calls[n], ours, t):.0e}" for t in (x, far) for n in names]
                    ms = times(calls, x.requires_grad_(), grad, seconds)
                    cells += [f"{ms[n]:.3f}" for n in names]
                    taken = norms.explain(ours, x).split(":")[0]
                    size = " × ".join(map(str, shape))
                    kind = str(dtype).removeprefix("torch.")
                    print(
                        f"| {name} | {size} | {layout} | {kind} | {taken} |", " | ".join(cells), "|"
                    )


if __name__ == "__main__":
    main()
