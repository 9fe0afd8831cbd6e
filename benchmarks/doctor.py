"""How often the doctor is right: its verdict on an untrained net against the outcome of training.

    nice -n 10 python benchmarks/doctor.py              diagnoses and trains the missing cells
    python benchmarks/doctor.py --diagnose              diagnoses all again, keeps the trainings
    python benchmarks/doctor.py --workers 2             two cells at a time
    python benchmarks/doctor.py --again --only "digits/[124]/*"     is the truth itself certain?

DeeperCNN with 1, 2, 4, 8, 16 convolutions a block; no norm, LayerNorm, GroupNorm (2 groups) or
BatchNorm; torch's initialization, Kaiming's, and three times Kaiming's; plain SGD; FashionMNIST or
scikit-learn's digits. Each is trained 400 steps of 32 samples. Then it has

    learned    if it classifies 20% or more of 1000 (digits: 599) held-out images rightly; chance
               is 10%, and 13% would be beyond chance by three standard errors;
    diverged   if it has not, and a loss was not finite or above 30 ln(10), 30 times the loss of the
               best constant output;
    not learned  otherwise. A net that starts to learn after step 400 counts here.

The tuning cells have set the doctor's rules and thresholds (the last lines show by what margin):
learning rates 0.1 and 1.0, on FashionMNIST up to 4 convolutions a block. The test cells have not:
learning rates 0.05 and 0.5, up to 8 convolutions a block, two in five of them, chosen by a fixed
hash of the name. Net and order of the samples are drawn from the name, too; the doctor sees 256
training samples and draws its own batches of 32 from them.
"""

import argparse
import fnmatch
import hashlib
import itertools
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from counterpoise import data, doctor, models, norms

STEPS, BATCH, SAMPLES, EVALUATED = 400, 32, 256, 1000
LEARNED, HIGH_LOSS = 0.2, 30
VERDICTS = ("will learn", "will not learn", "will diverge")
RESULT = Path(__file__).parent / "results" / "doctor.json"
DEPTHS = {"tune/digits": (1, 2, 4, 8, 16), "tune/fashion_mnist": (1, 2, 4)}
DEPTHS |= {"test/digits": (1, 2, 4, 8), "test/fashion_mnist": (1, 2, 4, 8)}
RATES = {"tune": (0.1, 1.0), "test": (0.05, 0.5)}
NORMS, INITS = ("none", "layer", "group", "batch"), ("default", "kaiming", "large")
CELL = ("data", "depth", "norm", "init", "lr")
TRAINED = (*CELL, "group", "accuracy", "highest_loss", "last_loss", "train_seconds")


def cells():
    """Every cell by its name, with its group."""
    for key, depths in DEPTHS.items():
        group, data_set = key.split("/")
        for values in itertools.product([data_set], depths, NORMS, INITS, RATES[group]):
            name = "/".join(map(str, values))
            if group == "tune" or digest(name) % 5 < 2:
                yield name, {**dict(zip(CELL, values, strict=True)), "group": group}


def digest(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


@cache
def splits(name):
    """Images as floats in 0 .. 1 and classes: training inputs, targets, held-out ones."""
    found = getattr(data, name)()
    held_out = found.test.inputs[:EVALUATED] / 255, found.test.targets[:EVALUATED]
    return found.train.inputs / 255, found.train.targets, *held_out


def build(cell, seed):
    torch.manual_seed(seed)
    norm = {"none": None, "batch": lambda shape: nn.BatchNorm2d(shape[0])}
    size = splits(cell["data"])[0].shape[-1]
    norm = norm[cell["norm"]] if cell["norm"] in norm else norms.ALL[cell["norm"]]
    net = models.DeeperCNN(norm, convs_per_block=cell["depth"], image_size=size)
    for layer in net.modules():
        if cell["init"] != "default" and isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            layer.weight.data *= 3 if cell["init"] == "large" else 1
    return net


def train(name, cell, order_seed=0):
    """Train one cell and return the outcome."""
    inputs, targets, *held_out = splits(cell["data"])
    net, begin = build(cell, digest(name)), time.perf_counter()
    optimizer = torch.optim.SGD(net.parameters(), lr=cell["lr"])
    order = torch.Generator().manual_seed(digest(name) + order_seed)
    losses = []
    for index in torch.randint(len(inputs), (STEPS, BATCH), generator=order):
        loss = nn.functional.cross_entropy(net(inputs[index]), targets[index])
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    highest = max(losses) if all(map(math.isfinite, losses)) else None
    return {
        "accuracy": round(held_out_accuracy(net, *held_out), 4),
        "highest_loss": highest,
        "last_loss": sum(losses[-20:]) / 20 if highest is not None else None,
        "train_seconds": round(time.perf_counter() - begin, 2),
    }


def truth(row):
    """The outcome of a cell's training, as a verdict."""
    if row["accuracy"] >= LEARNED:
        return "will learn"
    diverged = row["highest_loss"] is None or row["highest_loss"] > HIGH_LOSS * math.log(10)
    return "will diverge" if diverged else "will not learn"


@torch.no_grad()
def held_out_accuracy(net, inputs, targets):
    found = net.eval()(inputs).argmax(1)
    return (found == targets).double().mean().item()


def diagnose(name, cell):
    """The doctor's verdict, and the numbers behind it."""
    inputs, targets, *_ = splits(cell["data"])
    draw = torch.Generator().manual_seed(digest(name) + 1)
    index = torch.randperm(len(inputs), generator=draw)[:SAMPLES]
    net, begin = build(cell, digest(name)), time.perf_counter()
    found = doctor.diagnose(
        net, nn.CrossEntropyLoss(), inputs[index], targets[index], lr=cell["lr"], remedies=False
    )
    n = found.numbers
    return {
        "verdict": found.verdict,
        "sure": found.sure,
        "cause": found.cause,
        "improvement": n.improvement,
        "learning_signal": n.learning_signal,
        "growth": n.growth,
        "steps": found.steps,
        "first_order_decrease": n.first_order_decrease,
        "first_order_decrease_after": n.first_order_decrease_after,
        "visible_share": n.visible_share,
        "visible_share_after": n.visible_share_after,
        "highest_loss_seen": n.highest_loss / n.scale,
        "diagnose_seconds": round(time.perf_counter() - begin, 2),
    }


def work(job):
    """Train and diagnose one cell, unless done already."""
    name, cell, row = job
    torch.set_num_threads(1)
    if "accuracy" not in row:
        row = {**cell, **train(name, cell)}
    return name, row if "verdict" in row else {**row, **diagnose(name, cell)}


def confusion(rows):
    """Print outcomes against verdicts, and how often the verdicts were right."""
    print(f"{'truth | verdict':16}" + "".join(f"{verdict:>16}" for verdict in VERDICTS))
    recalls, draw = [], np.random.default_rng(0)
    for true in VERDICTS:
        given = [row["verdict"] for row in rows if truth(row) == true]
        print(f"{true:16}" + "".join(f"{given.count(verdict):16}" for verdict in VERDICTS))
        if given:
            right = np.array(given) == true
            recalls.append([right.mean(), *draw.choice(right, (10_000, len(given))).mean(1)])
    balanced = np.mean(recalls, axis=0)
    low, high = np.quantile(balanced[1:], [0.025, 0.975])
    print(f"balanced accuracy {balanced[0]:.1%} (cells resampled: {low:.1%} to {high:.1%})")
    sure = [row["verdict"] == truth(row) for row in rows if row["sure"]]
    print(f"of {len(sure)} it was sure of: {np.mean(sure):.1%} right\n")


def agreement(done, names):
    """Print how often a second training, of the same net in another order, ends as the first."""
    torch.set_num_threads(1)
    every = dict(cells())
    pairs = [(truth(done[n]), truth(train(n, every[n], order_seed=1))) for n in names]
    for rate in dict.fromkeys(every[n]["lr"] for n in names):
        of = [a == b for n, (a, b) in zip(names, pairs, strict=True) if every[n]["lr"] == rate]
        print(f"learning rate {rate}: {sum(of)} of {len(of)} trainings end as another did")


def margins(rows):
    """Print how near the tuning cells come to the thresholds of `counterpoise.doctor`."""
    for key in ("improvement", "learning_signal"):
        for learned in (True, False):
            found = [r[key] for r in rows if (truth(r) == "will learn") is learned and r[key]]
            kind = "lowest that learned" if learned else "highest that did not"
            print(f"{key}, {kind}:", *(f"{x:.2g}" for x in sorted(found, reverse=not learned)[:6]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--diagnose", action="store_true", help="diagnose all again")
    parser.add_argument("--workers", type=int, default=1, help="cells at a time")
    parser.add_argument("--only", default="", help="a pattern of names, such as 'digits/*'")
    parser.add_argument("--again", action="store_true", help="only train the cells a second time")
    options = parser.parse_args()
    done = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if options.diagnose:
        done = {name: {k: row[k] for k in TRAINED} for name, row in done.items()}
    wanted = {n: c for n, c in cells() if not options.only or fnmatch.fnmatch(n, options.only)}
    if options.again:
        return agreement(done, [n for n in wanted if n in done])
    jobs = [(n, c, done.get(n, {})) for n, c in wanted.items() if "verdict" not in done.get(n, {})]
    with ProcessPoolExecutor(options.workers) as pool:
        for name, row in pool.map(work, jobs):
            print(
                f"{name:36} {truth(row):16} {row['verdict']:16} {row['accuracy']:.2f}", flush=True
            )
            done[name] = row
            RESULT.write_text(json.dumps(done, indent=0, sort_keys=True) + "\n")
    for group in ("tune", "test"):
        rows = [row for row in done.values() if row["group"] == group and "verdict" in row]
        print(f"\n{group}: {len(rows)} cells")
        if rows:
            confusion(rows)
        if group == "tune":
            margins(rows)


if __name__ == "__main__":
    main()
