"""How often the doctor is right on programs of many kinds: `benchmarks/doctor_corpus`.

    nice -n 10 python benchmarks/doctor_programs.py --truth         trains what is missing
    python benchmarks/doctor_programs.py                            diagnoses the development half
    python benchmarks/doctor_programs.py --half held-out            a summary of the other half
    python benchmarks/doctor_programs.py --only "tables/*" --show   some programs

The programs are translations of public examples and of published faults; each names its source,
and a hash of the source, drawn before any measurement, decides its half. Rules and thresholds may
be set on the development half alone; of the held-out half only the summary is printed.

Truth: a program is trained 450 steps, on batches drawn as the doctor draws them, with two seeds
for data, net and order. In evaluation mode, on all its samples, it has then

    learned      if the improvement (L_c - L) / |L_c| is above 0.05 and all losses were finite,
                 where L_c is the loss of the best constant output, found by L-BFGS in float64;
    diverged     if it has not, and a loss was not finite or above 30 times L_c;
    not learned  otherwise. A net that starts to learn after step 450 counts here.

Where the loss itself is at fault, the one that was meant is measured. A program whose seeds
disagree on "learned" is near the edge and counted apart. A planted fault that does not keep a
program from learning is no fault here.

The doctor sees the program of seed 0. An exception counts as a wrong verdict.
"""

import argparse
import fnmatch
import json
import math
import time
from pathlib import Path

import torch
from doctor_corpus import PROGRAMS
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from counterpoise import doctor
from counterpoise.probe.nested import call, count_samples

STEPS, LEARNED, HIGH_LOSS, SEEDS = 450, 0.05, 30, (0, 1)
RESULT = Path(__file__).parent / "results" / "doctor_programs.json"
LEARNS, NOT, DIVERGES = "will learn", "will not learn", "will diverge"
ALSO_RIGHT = {  # planted causes that a cause of the doctor's names in other words
    "nothing to train": ("no gradient", "parameters no optimizer holds", "constant loss"),
    "the signal vanishes": ("inputs: constant", "inputs: scale", "constant output", "dead units"),
    "the signal explodes": ("inputs: scale",),
    "the gradient vanishes": ("saturated units", "constant output"),
    "the units are dead": ("dead units", "constant output"),
    "the learning rate is too high": ("learning rate too high", "inputs: scale", "targets: scale"),
    "the learning rate is too low": ("learning rate too low", "late start", "targets: scale"),
}


def take(values, index, dim, samples):
    """The samples at `index` of nested tensors."""

    def of(t):
        dims = [d for d in (dim, 0) if t.dim() > d and t.shape[d] == samples]
        return t.index_select(dims[0], index) if dims else t

    return tree_map_only(torch.Tensor, of, values)


def train(program, seed):
    """Train in place; return the losses of the steps, up to one that is not finite."""
    made = doctor.OPTIMIZERS.get(program.optimizer, program.optimizer)
    trained = [p for p in program.net.parameters() if p.requires_grad]
    optimizer = made(trained, lr=program.lr) if trained else None
    order, losses = torch.Generator().manual_seed(1000 + seed), []
    samples = count_samples(program.inputs, program.batch_dim)
    for _ in range(STEPS):
        index = torch.randperm(samples, generator=order)[: program.batch_size]
        x, y = take((program.inputs, program.targets), index, program.batch_dim, samples)
        loss = program.loss(call(program.net, x), y)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        if loss.requires_grad and optimizer:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return losses


def constant_loss(score, output, targets, dim, samples):
    """The lowest loss of an output that is the same for every sample."""
    output, targets = (
        tree_map_only(torch.Tensor, lambda t: t.double() if t.is_floating_point() else t, v)
        for v in (output, targets)
    )
    leaves, shape = tree_flatten(output)
    means = [t.nan_to_num(0, 0, 0).mean(dim, keepdim=True) for t in leaves]
    found = []

    def loss_of(values):
        filled = [v.expand_as(t) for v, t in zip(values, leaves, strict=True)]
        loss = score(tree_unflatten(filled, shape), targets)
        found.append(loss.item())
        return loss

    for start in (means, *([torch.full_like(m, v) for m in means] for v in (0.0, 0.5))):
        values = [v.clone().requires_grad_() for v in start]
        optimizer = torch.optim.LBFGS(values, max_iter=100, line_search_fn="strong_wolfe")

        def closure(values=values, optimizer=optimizer):
            optimizer.zero_grad()
            loss = loss_of(values)
            if loss.requires_grad:
                loss.backward()
            return loss

        optimizer.step(closure)
    return min(filter(math.isfinite, found), default=math.nan)


def truth(entry, seed):
    """Train a program with one seed; return the outcome and its numbers."""
    program, begin = entry.build(seed), time.perf_counter()
    losses = train(program, seed)
    score, dim = program.meant or program.loss, program.batch_dim
    samples = count_samples(program.inputs, dim)
    with torch.no_grad():
        output = call(program.net.eval(), program.inputs)
        loss = score(output, program.targets).item()
    constant = constant_loss(score, output, program.targets, dim, samples)
    scale = abs(constant) if abs(constant) > 1e-6 else 1.0
    finite = all(map(math.isfinite, losses))
    improvement = (constant - loss) / scale
    if finite and improvement > LEARNED:
        outcome = LEARNS
    else:
        outcome = NOT if finite and max(losses) <= HIGH_LOSS * scale else DIVERGES
    return {
        "outcome": outcome,
        "improvement": round(improvement, 4) if math.isfinite(improvement) else None,
        "constant_loss": float(f"{constant:.4g}") if math.isfinite(constant) else None,
        "steps": len(losses),
        "seconds": round(time.perf_counter() - begin, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=["development", "held-out"], default="development")
    parser.add_argument("--truth", action="store_true", help="train what is missing, and end")
    parser.add_argument("--only", default="*", help="a pattern of names, such as 'tables/*'")
    parser.add_argument("--show", action="store_true", help="each program of the held-out half")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if options.truth:
        return train_missing(done, options.only)


def train_missing(done, pattern):
    for name, entry in PROGRAMS.items():
        if not fnmatch.fnmatch(name, pattern) or name in done:
            continue
        done[name] = {
            "source": entry.source,
            "kind": entry.kind,
            "cause": entry.cause,
            "half": entry.half,
            "truth": [truth(entry, seed) for seed in SEEDS],
        }
        RESULT.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")
        print(name, *(t["outcome"] for t in done[name]["truth"]), flush=True)


if __name__ == "__main__":
    main()
