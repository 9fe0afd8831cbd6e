"""The folded convolution beside torch's, both in channels_last, one thread, medians in one run.

python benchmarks/conv2d.py
"""

import itertools
import statistics
import time

import torch
import torch.nn.functional as F

from counterpoise.kernels.conv2d.folded import FoldedConv2d
from counterpoise.study.engines import tune_process

SHAPES = [(1, 4, 28), (4, 4, 28), (4, 8, 14), (8, 8, 14)]  # those of the sheet's net
BATCHES = (32, 128)  # training and evaluation
ROUNDS = 100


def torchs(x, weight, bias):
    return F.conv2d(x, weight, bias, padding=1)


def ours(x, weight, bias):
    return FoldedConv2d.apply(x, weight, bias, (1, 1))


def forward(function, inputs):
    with torch.no_grad():
        function(*inputs)


def both(function, inputs):
    wanted = [t for t in inputs if t.requires_grad]
    y = function(*inputs)
    torch.autograd.grad(y, wanted, torch.ones_like(y))


def medians(calls):
    """In turns, so that a slow moment of the machine hits both alike; microseconds."""
    times = {name: [] for name in calls}
    for round_ in range(ROUNDS + 10):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if round_ >= 10:
                times[name].append(time.perf_counter() - begun)
    return {name: 1e6 * statistics.median(t) for name, t in times.items()}


def main() -> None:
    tune_process(1)
    print(f"{'shape':>20} {'pass':>18} {'torch us':>9} {'folded us':>9} {'ratio':>6}")
    for n, (i, o, size) in itertools.product(BATCHES, SHAPES):
        x = torch.randn(n, i, size, size).contiguous(memory_format=torch.channels_last)
        weight, bias = torch.randn(o, i, 3, 3), torch.randn(o)
        inputs = (x.requires_grad_(i > 1), weight.requires_grad_(), bias.requires_grad_())
        for name, way in (("forward", forward), ("forward + backward", both)):
            t = medians(
                {
                    "torch": lambda way=way, inputs=inputs: way(torchs, inputs),
                    "ours": lambda way=way, inputs=inputs: way(ours, inputs),
                }
            )
            ratio = t["torch"] / t["ours"]
            shape = f"{n}x{i}->{o}x{size}x{size}"
            print(f"{shape:>20} {name:>18} {t['torch']:9.0f} {t['ours']:9.0f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
