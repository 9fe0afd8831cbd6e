"""Made-up studies, written as real ones are."""

import dataclasses
import functools
import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy
import torch

from counterpoise import files
from counterpoise.data import cache
from counterpoise.metrics import adjust, evaluate
from counterpoise.study import Plan, Training, record
from counterpoise.study import _stream as streaming
from counterpoise.study._runs import final_runs
from counterpoise.study._work import Work
from counterpoise.study.plan_file import write

NAMES = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Boot",
)
PLAN = Plan(
    "fashion_mnist",
    norms=("none", "group"),
    losses=("cross_entropy", "focal", "logit_adjusted"),
    training=Training("deeper_cnn", epochs=12),
)


SMALL = Plan(
    "digits",
    losses=("cross_entropy", "focal"),
    seeds=(0, 1, 2),
    training=Training("mlp", lr=0.1, epochs=3),
)
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "'; DROP TABLE classes; --",
    "x" * 200,
    "שלום \u202e עולם",
    "🦆🦢 {{ 7 * 7 }} {% raw %}",
)


@pytest.fixture
def small():
    """A plan of 2 variants and 3 seeds."""
    return SMALL


@pytest.fixture
def hostile():
    """Names of classes that a page must show as they are."""
    return HOSTILE


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """6 variants, 5 seeds, 10 classes, images; a seed that collapsed."""
    return write_study(tmp_path_factory.mktemp("study"), collapsed={("none, focal", 3)})


@pytest.fixture
def make(tmp_path):
    """Write a study of one's own: `make(plan, names=..., failed=...)`."""
    return functools.partial(write_study, tmp_path / "study")


def write_study(folder, plan=PLAN, names=NAMES, shape=(1, 28, 28), **what):
    """Write a study whose truth is known: GroupNorm helps, logit adjustment helps the rare classes.

    Args:
        folder: where.
        plan: what is to have been run.
        names: of the classes, the first the largest.
        shape: of a sample.
        **what: missing (how many of the last runs are not there yet), failed (label, seed) -> why,
            collapsed (label, seed), test_each (test samples a class), facts (more of the data),
            older (without what logits stand for), held (whether there is a validation split).
    """
    plan = plan if plan.seeds else dataclasses.replace(plan, seeds=(0, 1, 2, 3, 4))
    folder.mkdir(exist_ok=True)
    counts = np.geomspace(800, 8, len(names)).astype(int)
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(len(names)), what.get("test_each", 60))
    facts = _write_data(folder, plan, names, shape, counts, targets, rng) | what.get("facts", {})
    work = Work(plan, folder, facts, plan)
    work.add_tuning()
    for name in work.names("tuning"):
        run = work.specs[name]
        made = _run(work, name, plan, run, counts, targets, 1 - abs(np.log10(run.lr / 0.1)), True)
        record.finish(*made)
    labels = {plan.label(v): v for v in plan.variants}
    rates = (0.1, 0.1, 0.03, 0.1, 0.3, 0.1) if plan.tunes else [0.1] * len(labels)
    work.choices = {label: {"lr": lr} for label, lr in zip(labels, rates, strict=False)}
    work.add(final_runs(plan, facts["fingerprint"], work.choices))
    final = work.names("final")
    for name in final[: len(final) - what.get("missing", 0)]:
        run = work.specs[name]
        key = plan.label(run.variant), run.seed
        if key in what.get("failed", {}):
            work.failed[name] = what["failed"][key]
        else:
            skill = 0.0 if key in what.get("collapsed", ()) else 1.0
            older, held = what.get("older", False), what.get("held", True)
            record.finish(*_run(work, name, plan, run, counts, targets, skill, older, held))
    work.save()
    return folder


def _write_data(folder, plan, names, shape, counts, targets, rng):
    facts = {
        "name": plan.data.source,
        "source": "made up for a test",
        "class_names": list(names),
        "train_counts": counts.tolist(),
        "test_counts": np.bincount(targets, minlength=len(names)).tolist(),
        "shape": list(shape),
        "notes": [],
        "left_out": [],
        "cautions": [],
        "fingerprint": "0123456789abcdef",
    }
    every = np.repeat(np.arange(len(names)), counts)
    parts = {"train": every, "test": targets}
    inputs = np.concatenate([_samples(t, shape, rng) for t in parts.values()])
    entry = cache.keep(
        folder.parent / f"{len(inputs)} samples of {shape}", torch.from_numpy(inputs), {}
    )
    rows = np.split(np.arange(len(inputs)), [len(every)])
    arrays = {f"{k}_rows": r for k, r in zip(parts, rows, strict=True)}
    arrays |= {f"{k}_targets": t.astype(np.int64) for k, t in parts.items()}
    called = {k: json.dumps([f"{k}/{i}.png" for i in range(len(t))]) for k, t in parts.items()}
    arrays |= {f"{k}_names": np.frombuffer(n.encode(), np.uint8) for k, n in called.items()}
    (folder / streaming.RUNS).mkdir(exist_ok=True)
    content = safetensors.numpy.save(arrays)
    files.write(folder / "data.safetensors", content)
    files.write(folder / streaming.PLAN, write(plan))
    facts["entry"] = str(entry.folder)
    return facts | {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _samples(targets, shape, rng):
    """Rings whose size tells the class; or plain features."""
    if len(shape) == 1:
        return rng.normal(size=(len(targets), *shape)).astype(np.float32)
    _, h, w = shape
    y, x = np.ogrid[:h, :w]
    centre = rng.normal(0.5, 0.06, (2, len(targets), 1, 1))
    radius = np.hypot(y - h * centre[0], x - w * centre[1])
    ring = np.exp(-((radius - 1 - targets[:, None, None] % 12 * h / 24) ** 2) / 4)
    noisy = 215 * ring + rng.uniform(0, 40, ring.shape)
    return np.repeat(noisy.astype(np.uint8)[:, None], shape[0], 1)


def _run(work, name, plan, run, counts, targets, skill, older, held=False):
    """What `record.finish` takes: a folder, files and the scores."""
    folder = work.folder / streaming.RUNS / name
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng([run.seed, *name.encode()])
    logits = _logits(run.variant, targets, len(counts), skill, rng)
    scores = evaluate(targets, logits, counts).to_dict()
    found = {
        "spec": run.to_json(),
        "environment": {"torch": "2.13.0", "kernels": "C"},
        "parameters": 78_042 + 256 * (run.variant.norm != "none"),
        "train_counts": counts.tolist(),
        "seen_counts": counts.tolist(),
        "tau": None,
        "adjusted": None,
        "validation": scores,
    }
    if run.stage == "tuning":
        return folder, {"history.jsonl": ""}, found, {"seconds": 1.0}
    found["test"], found["tau"] = scores, 0.5
    found["adjusted"] = evaluate(targets, adjust(logits, counts, 0.5), counts).to_dict()
    shares = np.linspace(0, 1, run.training.epochs + 1) ** 0.3
    wobble = rng.normal(0, 0.02, len(shares))
    history = [
        {
            "epoch": e,
            "loss": 2.3 * (1 - 0.85 * s * skill) + abs(w) if e else None,
            "validation_accuracy": scores["accuracy"] * s + abs(w),
            "validation_balanced_accuracy": scores["balanced_accuracy"] * s + abs(w),
            "validation_nll": scores["nll"] * (2 - s),
        }
        for e, (s, w) in enumerate(zip(shares, wobble, strict=True))
    ]
    seconds = 40 + 12 * (run.variant.norm != "none") + rng.normal()
    timing = {"seconds": seconds, "epochs_seconds": [], "peak_memory_mb": 410.0}
    kept = {"test_logits": logits, "test_targets": targets}
    if not older:
        longer = np.geomspace(1, 1.4, len(counts), dtype=np.float32)  # rows of rare classes
        found["normalized"] = evaluate(targets, logits * longer, counts).to_dict()
        found["tau_norm"] = 0.7
        offset = np.log(counts).tolist() if run.variant.plain_loss == "logit_adjusted" else []
        found["link"] = {"offset": offset} if offset else {}
    if held and not older:
        true = np.repeat(np.arange(len(counts)), counts // 8 + 1)
        kept["validation_logits"] = _logits(run.variant, true, len(counts), skill, rng)
        kept["validation_targets"] = true
    contents = {
        "history.jsonl": record.to_jsonl(history),
        "predictions.npz": record.npz(**kept),
        "probe.json": record.to_json(_flow(run.variant)),
    }
    return folder, contents, found, timing


def _logits(variant, targets, classes, skill, rng):
    """Right more often in large classes, unless adjusted; wrong mostly towards one neighbour."""
    rarity = np.arange(classes) / classes
    lost = {"cross_entropy": 1.5, "focal": 1.45}.get(variant.plain_loss, 0.7)
    gain = skill * (3.6 + 0.15 * (variant.norm != "none") - lost * rarity + rng.normal(0, 0.05))
    z = rng.normal(size=(len(targets), classes))
    z[np.arange(len(targets)), targets] += gain[targets]
    z[np.arange(len(targets)), (targets * 3 + 1) % classes] += 1.2 * skill
    z[:, 0] += 5 * (1 - skill)
    return (1.3 * z).astype(np.float32)


def _flow(variant):
    decay = 0.35 if variant.norm == "none" else 0.93
    kinds = ["Conv3x3"] * 8 + ["Linear"]
    return [
        {
            "name": f"body.{k}" if k < 8 else "head",
            "kind": kind,
            "calls": 1,
            "activation_rms": 0.6 * decay**k,
            "visible_share": 0.5 * decay**k,
            "dead_share": 0.01 * k,
            "grad_norm": 0.4 * decay ** (8 - k),
        }
        for k, kind in enumerate(kinds)
    ]
