"""Our norms beside torch's, forward + backward on a CPU: in both layouts, float32 and bfloat16.

    python benchmarks/norms.py              1 thread
    python benchmarks/norms.py --threads 2 --save benchmarks/results/norms_2_threads.json
    python benchmarks/norms.py --compile    torch.compile(torch.nn) too (slow to start)

All in one process and in turns; medians in milliseconds. "native" is torch.nn in the layout that
is given, "copies" the same on a contiguous copy, with the result copied back; "textbook" is the
formula out of torch's operators. The last column is the best of native and copies over ours: above
1, ours is quicker. For GroupNorm in channels_last native is wrong at large means
(docs/channels_last_group_norm.md).
"""

import argparse
import copy
import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from counterpoise import norms

IMAGES = [(32, 4, 28, 28), (32, 8, 14, 14), (64, 64, 28, 28), (16, 256, 56, 56), (8, 320, 64, 64)]
ROWS = [(8192, 768), (4096, 4096)]
SECONDS = 0.8  # a row, about


def members(shape):
    """(name, ours, torch's) for what normalizes tensors of a shape (N, ...)."""
    if len(shape) == 2:
        return [
            ("LayerNorm", norms.LayerNorm(shape[1]), nn.LayerNorm(shape[1])),
            ("RMSNorm", norms.RMSNorm(shape[1]), nn.RMSNorm(shape[1])),
        ]
    channels = shape[1]
    groups = [g for g in (1, 8, 32) if channels % g == 0 and g < channels]
    found = [
        (f"GroupNorm({g})", norms.GroupNorm(g, channels), nn.GroupNorm(g, channels))
        for g in [*groups, channels]
    ]
    whole = tuple(shape[1:])
    found.append(("LayerNorm(C,H,W)", norms.LayerNorm(whole), nn.LayerNorm(whole)))
    found.append(("LayerNorm2d", norms.LayerNorm2d(channels), Permuted(channels)))
    return found


class Permuted(nn.LayerNorm):
    """LayerNorm over channels as timm has it."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def with_copies(layer):
    def call(x):
        y = layer(x.contiguous())
        return y.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else y

    return call


def textbook(layer):
    with_reference = copy.deepcopy(layer)

    def call(x):
        with norms.backend("reference"):
            return with_reference(x)

    return call


def step(call, x, slope):
    x.grad = None
    call(x).backward(slope)


def medians(calls, x, slope):
    times = {name: [] for name in calls}
    begun = time.perf_counter()
    for call in calls.values():
        step(call, x, slope)
    rounds = int(min(60, max(3, SECONDS / (time.perf_counter() - begun))))
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.perf_counter()
            step(call, x, slope)
            times[name].append(time.perf_counter() - begun)
    return {name: 1e3 * statistics.median(t) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save", type=Path, help="write the table as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for shape in [*IMAGES, *ROWS]:
        for dtype in (torch.float32, torch.bfloat16):
            for layout in ("contiguous", "channels_last")[: len(shape) // 2]:
                for name, ours, theirs in members(shape):
                    memory = getattr(torch, f"{layout}_format", torch.channels_last)
                    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=memory)
                    slope = torch.randn(shape, dtype=dtype).contiguous(memory_format=memory)
                    x.requires_grad_()
                    ours, theirs = ours.to(dtype), theirs.to(dtype)
                    calls = {"ours": ours, "native": theirs}
                    if layout == "channels_last":
                        calls["copies"] = with_copies(theirs)
                    calls["textbook"] = textbook(ours)
                    if arguments.compile:
                        torch.compiler.reset()
                        calls["compiled"] = torch.compile(theirs)
                    ms = medians(calls, x, slope)
                    ratio = min(ms["native"], ms.get("copies", ms["native"])) / ms["ours"]
                    cells = "  ".join(f"{k} {v:8.3f}" for k, v in ms.items())
                    kind = f"{str(dtype)[6:]} {layout}"
                    size = "x".join(map(str, shape))
                    print(f"{size:15} {kind:23} {name:17} {cells}  {ratio:5.2f}x", flush=True)
                    rows.append({"shape": shape, "kind": kind, "norm": name, "ms": ms})
    if arguments.save:
        about = {"threads": arguments.threads, "torch": torch.__version__}
        arguments.save.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
