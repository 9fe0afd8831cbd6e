"""How often the doctor is right on programs of many kinds: `benchmarks/doctor_corpus`.

    nice -n 10 python benchmarks/doctor_programs.py --truth         trains what is missing
    python benchmarks/doctor_programs.py                            diagnoses the development half
    python benchmarks/doctor_programs.py --half held-out            a summary of the other half
    python benchmarks/doctor_programs.py --only "tables/*" --show   some programs

The programs are small translations of public examples and of published faults, or of the kinds of
faults that a study names, on data that come with scikit-learn or are drawn. Each names its source;
a hash of the source decides its half, before any measurement. Rules and thresholds may be set on
the development half alone; of the held-out half only the summary is printed.

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
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from doctor_corpus import PROGRAMS
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from counterpoise import doctor
from counterpoise.probe.nested import call, count_samples

STEPS, LEARNED, HIGH_LOSS, SEEDS = 450, 0.05, 30, (0, 1)
RESULT = Path(__file__).parent / "results" / "doctor_programs.json"
LEARNS, NOT, DIVERGES = "will learn", "will not learn", "will diverge"
ALSO_RIGHT = {  # planted causes that a cause of the doctor's names in its words
    "no gradient reaches the parameters": ("no gradient", "constant loss"),
    "no optimizer holds the parameters": ("parameters no optimizer holds",),
    "the inputs hold values that are not finite": ("inputs: NaN",),
    "the inputs are the same for all samples": ("inputs: constant",),
    "the inputs are far from a scale of 1": ("inputs: scale",),
    "the targets are the same for all samples": ("targets: one class",),
    "the targets are outside the outputs": ("targets: outside",),
    "the targets are far from a scale of 1": ("targets: scale",),
    "the units of a layer start alike": ("symmetric weights",),
    "the signal and the gradient vanish": (
        *("the signal vanishes", "the gradient vanishes", "saturated units"),
        *("constant output", "inputs: scale"),
    ),
    "no sign of learning within these steps": ("late start", "targets: random", "too small a net"),
    "values become not a number": ("NaN",),
    "the weight decay is stronger than the loss": ("weight decay",),
    "dropout leaves nothing": ("dropout",),
    "the net ends in a softmax or sigmoid that the loss contains": ("softmax before the loss",),
    "the loss has the wrong sign": ("wrong sign",),
    "the loss is constant": ("constant loss",),
    "outputs and targets of different shapes are broadcast": ("wrong loss",),
    "batch norm is in evaluation mode, with foreign statistics": ("batch norm in eval",),
    "the net mixes samples": ("samples mixed", "inputs: transposed"),
    "the signal vanishes": ("inputs: scale", "constant output", "dead units", "saturated units"),
    "the signal explodes": ("inputs: scale",),
    "the gradient vanishes": ("saturated units", "constant output"),
    "the units are dead": ("dead units", "constant output"),
    "the learning rate is too high": ("learning rate too high", "targets: scale"),
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


def truth(program, seed):
    """Train a program; return the outcome and its numbers."""
    begin = time.perf_counter()
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


def diagnose(entry):
    """The doctor's answer on a program; an exception is one, too."""
    p, begin = entry.build(0), time.perf_counter()
    answer = {"verdict": "error", "sure": False, "cause": "", "remedy": "", "helps": None}
    try:
        found = doctor.diagnose(
            p.net,
            p.loss,
            p.inputs,
            p.targets,
            lr=p.lr,
            optimizer=p.optimizer,
            batch_size=p.batch_size,
            batch_dim=p.batch_dim,
        )
    except Exception as error:
        answer["cause"] = f"{type(error).__name__}: {error}".splitlines()[0][:80]
    else:
        answer |= {"verdict": found.verdict, "sure": found.sure, "cause": found.cause or ""}
    answer["seconds"] = time.perf_counter() - begin
    if answer["verdict"] != "error" and found.recommended:
        first = found.recommended[0]
        answer |= {"remedy": first.change, "helps": helps(entry, first)}
    return answer


def helps(entry, remedy):
    """Whether a remedy makes a program learn: by training where only the rate is changed.

    A diagnosis does not hand out the changed net, so other remedies are judged by its numbers.
    """
    rate = re.fullmatch(r"learning rate (\S+)", remedy.change)
    if rate:
        program = replace(entry.build(0), lr=float(rate[1]))
        return truth(program, 0)["outcome"] == LEARNS
    return (remedy.numbers.improvement or 0.0) > LEARNED


def summarize(rows):
    """Print how often the doctor was right."""
    for row in rows:
        outcomes = [t["outcome"] for t in row["truth"]]
        row["learns"] = outcomes[0] == LEARNS
        row["edge"] = row["learns"] != (outcomes[1] == LEARNS)
        row["right"] = row["verdict"] != "error" and (row["verdict"] == LEARNS) == row["learns"]
    clear = [row for row in rows if not row["edge"]]
    sound = [row for row in clear if row["learns"]]
    sick = [row for row in clear if not row["learns"]]
    public = [row for row in sound if row["cause_planted"] is None]
    alarms = [row for row in public if not row["right"]]
    sure = [row for row in clear if row["sure"]]
    faults = [row for row in sick if row["cause_planted"]]
    named = [row for row in faults if is_named(row["cause_planted"], row["cause"])]
    advised = [row for row in sick if row["helps"] is not None]
    accuracy, low, high = balanced(clear)
    seconds = np.quantile([row["seconds"] for row in rows], [0.5, 0.9])
    print(f"| {len(clear)} programs: truth | {LEARNS} | {NOT} | {DIVERGES} | error |")
    print("| --- | --- | --- | --- | --- |")
    for true in (LEARNS, NOT, DIVERGES):
        given = [row["verdict"] for row in clear if row["truth"][0]["outcome"] == true]
        counts = (given.count(verdict) for verdict in (LEARNS, NOT, DIVERGES, "error"))
        print(f"| {true} |", " | ".join(map(str, counts)), "|")
    print()
    say("sources", len({row["source"] for row in clear}))
    say("balanced accuracy, sources resampled", f"{accuracy:.1%} ({low:.1%} to {high:.1%})")
    say(
        "false alarms on programs without a planted fault that learn",
        ratio(alarms, public),
    )
    say("sure and wrong", ratio([row for row in sure if not row["right"]], sure))
    say("cause right, of the planted faults that do not learn", ratio(named, faults))
    say("first recommendation helps", ratio([row for row in advised if row["helps"]], advised))
    say(
        "no recommendation for a program that does not learn",
        ratio([row for row in sick if row["helps"] is None], sick),
    )
    say("planted faults that learn anyway", sum(row["cause_planted"] is not None for row in sound))
    say("programs without a planted fault that do not learn", len(sick) - len(faults))
    say("near the edge, not counted above", len(rows) - len(clear))
    say("time, median and 90th percentile", f"{seconds[0]:.1f} s, {seconds[1]:.1f} s")
    return alarms


def say(what, value):
    print(f"- {what}: {value}")


def ratio(part, whole):
    return f"{len(part)} of {len(whole)}"


def is_named(planted, cause):
    return cause == planted or planted in ALSO_RIGHT.get(cause, ())


def balanced(rows):
    """The mean of the shares right among those that learn and those that do not.

    With its 95% interval, for which the sources are resampled.
    """
    sources, draw = sorted({row["source"] for row in rows}), np.random.default_rng(0)
    counts = np.zeros((len(sources), 2, 2))
    for row in rows:
        counts[sources.index(row["source"]), int(row["learns"])] += row["right"], 1
    times = draw.multinomial(len(sources), np.full(len(sources), 1 / len(sources)), 10_000)
    sums = np.concatenate([counts.sum(0)[None], np.einsum("bs,scn->bcn", times, counts)])
    with np.errstate(invalid="ignore"):
        shares = (sums[..., 0] / sums[..., 1]).mean(1)
    return shares[0], *np.quantile(shares[1:], [0.025, 0.975])


def table(rows):
    print("\n| program | planted | truth | verdict | cause | first recommendation | helps |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in sorted(rows, key=lambda row: (row["right"], row["name"])):
        true = row["truth"][0]["outcome"] + ", near the edge" * row["edge"]
        said = ("" if row["sure"] else "close: ") + row["verdict"]
        wrong = "" if row["right"] or row["edge"] else "**"
        helped = {None: "", True: "yes", False: "no"}[row["helps"]]
        cells = row["name"], row["cause_planted"] or "", true, f"{wrong}{said}{wrong}"
        print("|", " | ".join((*cells, row["cause"], row["remedy"], helped)), "|")


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
    wanted = [n for n in PROGRAMS if fnmatch.fnmatch(n, options.only) and n in done]
    wanted = [n for n in wanted if PROGRAMS[n].half == options.half.replace("-", " ")]
    rows = []
    for name in wanted:
        row = {**done[name], "name": name, "cause_planted": PROGRAMS[name].cause}
        rows.append({**row, **diagnose(PROGRAMS[name])})
    print(f"## The {options.half} half\n")
    alarms = summarize(rows)
    if options.half == "development" or options.show:
        say("the false alarms", ", ".join(row["name"] for row in alarms))
        table(rows)


def train_missing(done, pattern):
    for name, entry in PROGRAMS.items():
        if not fnmatch.fnmatch(name, pattern) or name in done:
            continue
        done[name] = {
            "source": entry.source,
            "kind": entry.kind,
            "cause": entry.cause,
            "half": entry.half,
            "truth": [truth(entry.build(seed), seed) for seed in SEEDS],
        }
        RESULT.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")
        print(name, *(t["outcome"] for t in done[name]["truth"]), flush=True)


if __name__ == "__main__":
    main()
