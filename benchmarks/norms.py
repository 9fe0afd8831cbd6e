"""Our norms beside torch's on a CPU: forward, and forward + backward, in both layouts.

    python benchmarks/norms.py                         all rows (about 12 minutes a thread count)
    python benchmarks/norms.py --shape 32x4x28x28 --dtype float32 --layout channels_last
    python benchmarks/norms.py --norm "GroupNorm(8)" --threads 2 --save results.json
    python benchmarks/norms.py --compile               torch.compile(torch.nn) too (slow to start)

What is saved is put among the rows that the file has, so a table can be measured in parts.

All in one process and in turns, the order drawn anew, each called once before it is timed; medians
in milliseconds. `native` is torch.nn in the layout that is given; `copies` the same on a contiguous
copy, with the result copied back; `textbook` the formula out of torch's operators. torch.nn has no
LayerNorm2d: there `native` is permute + layer_norm + permute with the layout restored, and `timm`
the same without, which is what timm's does (its own, where timm can be imported). The ratio is the
better of native and copies over ours: above 1, ours is quicker. In channels_last torch's GroupNorm
is wrong at large means (docs/channels_last_group_norm.md).

Memory is kept by the allocator, as training with this package keeps it: else page faults are most
of what the small rows measure.
"""

import argparse
import copy
import fnmatch
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from counterpoise import norms
from counterpoise.study.engines.worker import tune_process
from counterpoise.study.environment import processor

SHAPES = ["32x4x28x28", "32x8x14x14", "64x64x28x28", "16x256x56x56", "8x320x64x64"]
SHAPES += ["8192x768", "4096x4096"]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
NAMES = ("ours", "native", "copies", "textbook", "timm", "compiled")
SECONDS = 0.25  # for each function of a row, about
Call = Callable[[torch.Tensor], torch.Tensor]


class Permuted(nn.LayerNorm):
    """LayerNorm over channels as timm has it."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Restored(Permuted):
    """The same in the layout that was given."""

    def forward(self, x):
        y = super().forward(x)
        return y.contiguous() if x.is_contiguous() else y


def timms(channels: int) -> nn.Module:
    try:
        from timm.layers import LayerNorm2d
    except ImportError:
        return Permuted(channels)
    return LayerNorm2d(channels)


def members(shape: list[int]) -> list[tuple[str, nn.Module, nn.Module]]:
    """(name, ours, torch's) for what normalizes tensors of a shape (N, ...)."""
    last, whole = shape[1], shape[1:]
    if len(shape) == 2:
        return [
            ("LayerNorm", norms.LayerNorm(last), nn.LayerNorm(last)),
            ("RMSNorm", norms.RMSNorm(last), nn.RMSNorm(last)),
        ]
    groups = sorted({1, 2, last} | {g for g in (8, 32) if last % g == 0})
    return [
        *((f"GroupNorm({g})", norms.GroupNorm(g, last), nn.GroupNorm(g, last)) for g in groups),
        ("LayerNorm(C,H,W)", norms.LayerNorm(whole), nn.LayerNorm(whole)),
        ("LayerNorm2d", norms.LayerNorm2d(last), Restored(last)),
    ]


def with_copies(layer: nn.Module) -> Call:
    return lambda x: layer(x.contiguous()).contiguous(memory_format=torch.channels_last)


def textbook(layer: nn.Module) -> Call:
    apart = copy.deepcopy(layer)

    def call(x):
        with norms.backend("reference"):
            return apart(x)

    return call


def contestants(ours: nn.Module, theirs: nn.Module, layout: str, compiled: bool) -> dict[str, Call]:
    calls: dict[str, Call] = {"ours": ours, "native": theirs}
    if layout == "channels_last":
        calls["copies"] = with_copies(copy.deepcopy(theirs))
    calls["textbook"] = textbook(ours)
    if isinstance(theirs, Restored):
        calls["timm"] = timms(ours.weight.numel()).to(ours.weight)
    if compiled:
        torch.compiler.reset()
        calls["compiled"] = torch.compile(copy.deepcopy(theirs))
    return calls


def forward(call: Call, x: torch.Tensor, _: torch.Tensor) -> None:
    with torch.no_grad():
        call(x)


def both_ways(call: Call, x: torch.Tensor, slope: torch.Tensor) -> None:
    x.grad = None
    call(x).backward(slope)


def medians(step: Callable[..., None], calls: dict[str, Call], *tensors: Any) -> dict[str, float]:
    """Milliseconds of each, measured in turns; each begins as often as the others."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        step(call, *tensors)
        step(call, *tensors)
    order, end = list(calls), time.perf_counter() + SECONDS * len(calls)
    while time.perf_counter() < end or len(times[order[0]]) < len(calls) + 1:
        random.shuffle(order)  # so that none always follows the same one, with its use of memory
        for name in order:
            step(calls[name], *tensors)
            finish(tensors[0])
            begun = time.perf_counter()
            step(calls[name], *tensors)
            finish(tensors[0])
            times[name].append(time.perf_counter() - begun)
    return {name: 1e3 * statistics.median(t) for name, t in times.items()}


def finish(x: torch.Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize()


def ratio(ms: dict[str, float]) -> float:
    return min(ms["native"], ms.get("copies", ms["native"])) / ms["ours"]


def measured(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for size in arguments.shape:
        shape = [int(n) for n in size.split("x")]
        for dtype in arguments.dtype:
            for layout in arguments.layout if len(shape) == 4 else ["contiguous"]:
                for name, ours, theirs in members(shape):
                    if fnmatch.fnmatchcase(name, arguments.norm):
                        about = {"shape": size, "dtype": dtype, "layout": layout, "norm": name}
                        pair = ours.to(arguments.device), theirs.to(arguments.device)
                        rows += both_passes(about, shape, *pair, arguments)
    return rows


def both_passes(about, shape, ours, theirs, arguments) -> list[dict[str, Any]]:
    dtype, memory = getattr(torch, about["dtype"]), LAYOUTS[about["layout"]]
    x, slope = (
        torch.randn(shape, dtype=dtype, device=arguments.device).contiguous(memory_format=memory)
        for _ in range(2)
    )
    x.requires_grad_()
    calls = contestants(ours.to(dtype), theirs.to(dtype), about["layout"], arguments.compile)
    rows = []
    for way, step in {"forward": forward, "forward + backward": both_ways}.items():
        ms = medians(step, calls, x, slope)
        rows.append({**about, "pass": way, "ms": {name: round(t, 4) for name, t in ms.items()}})
        print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    cells = "".join(f" {row['ms'].get(name, float('nan')):10.3f}" for name in NAMES).replace(
        "nan", "  -"
    )
    return (
        f"{row['shape']:13} {row['dtype']:9} {row['layout']:14} {row['norm']:17}"
        f"{'f + b' if '+' in row['pass'] else 'f':6}{cells} {ratio(row['ms']):6.2f}"
    )


def verdict(rows: list[dict[str, Any]]) -> str:
    """The three targets, over the rows there are."""
    last = [r for r in rows if r["layout"] == "channels_last" and "+" in r["pass"]]
    whole = [r for r in last if r["norm"] == "LayerNorm(C,H,W)"]
    narrow = [r for r in last if r["dtype"] == "bfloat16" and 0 < channels_a_group(r) <= 8]
    worst = min(rows, key=lambda r: ratio(r["ms"]))
    said = [
        f"worst ratio {ratio(worst['ms']):.2f} ({worst['shape']} {worst['dtype']} "
        f"{worst['layout']} {worst['norm']} {worst['pass']}); "
        f"{sum(ratio(r['ms']) >= 0.95 for r in rows)} of {len(rows)} rows at 0.95 or more"
    ]
    for what, some, target in (
        ("LayerNorm(C,H,W) channels_last", whole, 2),
        ("bfloat16 GroupNorm channels_last, 8 channels a group or fewer", narrow, 5),
    ):
        if some:
            least = min(r["ms"]["native"] / r["ms"]["ours"] for r in some)
            holds = "holds" if least >= target else "does not hold"
            said.append(f"{what}: {least:.1f} times torch.nn at least, {target} {holds}")
    return "; ".join(said)


def channels_a_group(row: dict[str, Any]) -> int:
    if not row["norm"].startswith("GroupNorm"):
        return 0
    return int(row["shape"].split("x")[1]) // int(row["norm"][10:-1])


def merged(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a file, the new ones in the place of the old."""
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    keyed = {tuple(v for k, v in r.items() if k != "ms"): r for r in [*old, *rows]}
    return list(keyed.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", nargs="+", default=SHAPES, help="such as 32x4x28x28")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--layout", nargs="+", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--norm", default="*", help='a pattern, such as "Group*"')
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save", type=Path, help="a JSON file, to be made or added to")
    parser.add_argument("--show", type=Path, help="print a saved file and measure nothing")
    arguments = parser.parse_args()
    tune_process(arguments.threads)
    print(f"{'milliseconds':59}" + "".join(f" {n:>10}" for n in NAMES) + "  ratio")
    if arguments.show:
        rows = json.loads(arguments.show.read_text())["rows"]
        print(*map(line, rows), sep="\n")
    else:
        rows = measured(arguments)
    if arguments.save:
        rows = merged(arguments.save, rows)
        about = {
            "threads": arguments.threads,
            "processor": processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
        }
        lines = ",\n".join(json.dumps(r) for r in rows)
        arguments.save.write_text(json.dumps(about)[:-1] + f', "rows": [\n{lines}\n]}}\n')
    print(verdict(rows))


if __name__ == "__main__":
    main()
