"""The α-balanced focal loss beside its peers: time of forward + backward, and memory.

    python benchmarks/losses.py                      all shapes, 1 thread
    python benchmarks/losses.py --threads 2 --save benchmarks/results/losses_2_threads.json
    python benchmarks/losses.py --device cuda

The second writes the table for people, too, beside the JSON: losses_2_threads.md.

All in one process and in turns, the order drawn anew, so that a slow moment of the machine and what
the one before left in the caches hit everybody alike; medians.
The first column is torch's plain cross entropy, which does less (no α, no γ); "smoothed" is with
label smoothing; the textbook is the paper's formula out of torch's operators. Peers that are not
installed are left out:
pip install kornia monai imbalanced-losses pytorch-focalloss cbloss

Memory is what is allocated at the worst moment beyond the logits and their gradient, in units of
the logits; left out for a few kB of logits, where it does not matter and the profiler, which sees
torch's allocations only, would miss ours.
"""

import argparse
import json
import math
import random
import statistics
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F

from counterpoise.losses import FocalLoss
from counterpoise.study.environment import processor

SHAPES = [(32, 10), (256, 100), (8192, 1000), (65536, 10), (2048, 32000), (8, 21, 256, 256)]
GAMMA = 2.0
SECONDS = 3.0  # for each shape and peer, about


def textbook(weight):
    def loss(logits, target):
        p = torch.softmax(logits, 1).gather(1, target.unsqueeze(1)).squeeze(1)
        w = weight[target]
        return (w * (1 - p) ** GAMMA * -torch.log(p)).sum() / w.sum()

    return loss


def kornias(weight):
    from kornia.losses import FocalLoss as Peer

    return Peer(alpha=None, gamma=GAMMA, reduction="mean", weight=weight)


def monais(weight):
    from monai.losses import FocalLoss as Peer

    peer = Peer(use_softmax=True, to_onehot_y=True, gamma=GAMMA, weight=weight)
    return lambda logits, target: peer(logits, target.unsqueeze(1))


def imbalanced_losses(weight):
    from imbalanced_losses import SoftmaxFocalLoss as Peer

    return Peer(alpha=weight, gamma=GAMMA)


def pytorch_focalloss(weight):
    from torch_focalloss import MultiClassFocalLoss as Peer

    return Peer(gamma=GAMMA, alpha=weight)


def cblosses(weight):
    from cbloss.loss import FocalLoss as Peer

    return Peer(num_classes=len(weight), gamma=GAMMA)


PEERS = {
    "cross entropy": lambda weight: F.cross_entropy,
    "ours": lambda weight: FocalLoss(GAMMA, alpha=weight),
    "ours, smoothed": lambda weight: FocalLoss(GAMMA, alpha=weight, label_smoothing=0.1),
    "textbook": textbook,
    "compiled": lambda weight: torch.compile(textbook(weight)),
    "kornia": kornias,
    "monai": monais,
    "imbalanced-losses": imbalanced_losses,
    "pytorch-focalloss": pytorch_focalloss,
    "cbloss": cblosses,
}


def step(loss, logits, target):
    logits.grad = None
    loss(logits, target).backward()
    if logits.is_cuda:
        torch.cuda.synchronize()


def peers_that_work(logits, target, weight):
    found = {}
    for name, make in PEERS.items():
        try:
            loss = make(weight)
            step(loss, logits, target)
            found[name] = loss
        except Exception as error:
            print(f"  without {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    return found


def medians(losses, logits, target):
    """Milliseconds of a step."""
    times = {name: [] for name in losses}
    once = {}
    for name, loss in losses.items():
        begun = time.perf_counter()
        step(loss, logits, target)
        once[name] = time.perf_counter() - begun
    rounds = int(min(400, max(5, SECONDS / max(once.values()))))
    order = list(losses)
    for _ in range(rounds):
        random.shuffle(order)  # so that none always follows the same one, with its use of caches
        for name in order:
            begun = time.perf_counter()
            step(losses[name], logits, target)
            times[name].append(time.perf_counter() - begun)
    return {name: round(1e3 * statistics.median(t), 4) for name, t in times.items()}


def memory(loss, logits, target):
    """Bytes at the worst moment of a step, less those of the gradient, over those of the logits."""
    logits.grad = None
    size = logits.numel() * logits.element_size()
    if logits.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss(logits, target).backward()
        return round((torch.cuda.max_memory_allocated() - before - size) / size, 4)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        loss(logits, target).backward()
    events = profile.profiler.kineto_results.events()
    events = sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns())
    now = peak = 0
    for event in events:
        now += event.nbytes()
        peak = max(peak, now)
    return round((peak - size) / size, 4)


def table(row):
    """One shape's part of the table, as lines of Markdown; the quickest first."""
    yield f"## {row['shape']}, {math.prod(row['shape']):,} logits\n"
    yield f"| {'':18} | {'ms':>9} | of cross entropy | extra memory, of the logits |"
    yield "| :--- | ---: | ---: | ---: |"
    for name, ms in sorted(row["ms"].items(), key=lambda item: item[1]):
        ratio, extra = ms / row["ms"]["cross entropy"], row["extra_memory"].get(name)
        memory_ = "" if extra is None else f"{extra:.2f}x"
        yield f"| {name:18} | {ms:9.3f} | {ratio:15.2f}x | {memory_:>27} |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", type=Path, help="write the table as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    rows = []
    for shape in SHAPES:
        torch.manual_seed(0)
        torch.compiler.reset()
        with torch.device(arguments.device):
            logits = torch.randn(shape, requires_grad=True)
            target = torch.randint(shape[1], (shape[0], *shape[2:]))
            weight = torch.rand(shape[1]) + 0.1
        losses = peers_that_work(logits, target, weight)
        times = medians(losses, logits, target)
        weighty = losses if logits.numel() > 1e5 else {}
        extra = {name: memory(loss, logits, target) for name, loss in weighty.items()}
        rows.append({"shape": shape, "ms": times, "extra_memory": extra})
        print("\n".join(table(rows[-1])), flush=True)
    if arguments.save:
        instructions = torch.backends.cpu.get_cpu_capability()
        where = f"{arguments.threads} thread(s), {processor()}, {instructions}"
        if arguments.device != "cpu":
            where = torch.cuda.get_device_name()
        about = {"where": where, "torch": torch.__version__}
        arguments.save.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
        title = f"# Focal loss with α and γ: {where}, torch {about['torch']}\n"
        lines = [title, *(line for row in rows for line in table(row))]
        arguments.save.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
