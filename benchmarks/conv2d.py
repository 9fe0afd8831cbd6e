"""Our convolution in C beside torch's: channels_last, one thread, in one run.

Medians in microseconds, and how many times quicker than torch's ours is, with the
billions of products and sums that it does in a second. The gradients are those that training asks
for: of weight and bias, and of all inputs but images.

python benchmarks/conv2d.py
"""

import itertools
import statistics
import time
from functools import partial

import torch

from counterpoise.kernels.conv2d import cpu, eager
from counterpoise.study.engines.worker import tune_process

SHAPES = [(1, 4, 28), (4, 4, 28), (4, 8, 14), (8, 8, 14)]  # those of the sheet's net
BATCHES = (32, 128)  # training and evaluation
ROUNDS = 100


PADDING = (1, 1)
IMPLEMENTATIONS = {"torch": eager.conv2d, "ours": cpu.conv2d}


def forward(function, inputs):
    with torch.no_grad():
        function(*inputs, PADDING)


def both(function, inputs):
    wanted = [t for t in inputs if t.requires_grad]
    y = function(*inputs, PADDING)
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
    print(
        f"{'shape':>20} {'pass':>18}"
        + "".join(f"{way:>10}" for way in IMPLEMENTATIONS)
        + "   ratio GFLOP/s"
    )
    for n, (i, o, size) in itertools.product(BATCHES, SHAPES):
        x = torch.randn(n, i, size, size).contiguous(memory_format=torch.channels_last)
        weight, bias = torch.randn(o, i, 3, 3), torch.randn(o)
        inputs = (x.requires_grad_(i > 1), weight.requires_grad_(), bias.requires_grad_())
        for name, call, passes in (
            ("forward", forward, 1),
            ("forward + backward", both, 2 + (i > 1)),
        ):
            t = medians({k: partial(call, way, inputs) for k, way in IMPLEMENTATIONS.items()})
            figures = "".join(f"{t[way]:10.0f}" for way in IMPLEMENTATIONS)
            quick = t["ours"]
            rate = passes * 2 * 9 * n * i * o * size * size / quick / 1e3
            shape = f"{n}x{i}->{o}x{size}x{size}"
            print(f"{shape:>20} {name:>18}{figures}{t['torch'] / quick:8.2f}{rate:8.0f}")


if __name__ == "__main__":
    main()
