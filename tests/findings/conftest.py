"""Studies made up for the tests."""

import functools
import hashlib
from pathlib import Path

import numpy as np
import pytest

from counterpoise.metrics import evaluate, score
from counterpoise.study import Plan, Record, Study, Training, record

NAMES = ("apple", "bread", "cheese", "date", "egg", "fig", "grape", "honey", "ice", "jam")


def logits_of(hits, sizes):
    """Answers with so many hits a class, the rest going to the next class; and the targets."""
    targets = np.repeat(np.arange(len(sizes)), sizes)
    right = np.concatenate([np.arange(n) < h for h, n in zip(hits, sizes, strict=True)])
    answers = np.where(right, targets, (targets + 1) % len(sizes))
    return 3.0 * np.eye(len(sizes), dtype=np.float32)[answers], targets


def keep_answers(runs, run, logits, targets):
    """Write a run's predictions as a finished run has them, and return its folder."""
    content = record.npz(test_logits=logits, test_targets=targets)
    digest = hashlib.sha256(content).hexdigest()
    run["files"] = {"predictions.npz": {"bytes": len(content), "sha256": digest}}
    folder = runs / digest
    folder.mkdir(exist_ok=True)
    (folder / "predictions.npz").write_bytes(content)
    return folder


def make_study(
    runs,
    hits,
    sizes=(100, 100, 100),
    *,
    train_counts=None,
    validation_sizes=None,
    adjusted=None,
    normalized=None,
    same=(),
    seen=None,
    histories=None,
    flows=None,
    failed=None,
    choices=None,
    references=None,
    seconds=None,
    folder=Path("nowhere"),
    **settings,
):
    """A study as `open_study` returns it.

    Args:
        runs: a folder to write predictions to.
        hits: by loss, by seed: right answers of each class of the test split; None: no such run.
        sizes: test samples of each class.
        train_counts: the same of the training split.
        validation_sizes: the same of the validation split; its hits are all.
        adjusted: like `hits`, after post-hoc adjustment; absent: like `hits`.
        same: losses whose logits are those of another with these hits, to the last bit.
        normalized: the same after τ-normalization; absent: there is none.
        seen: what the loss saw of each class, by loss.
        histories: rows by loss (the same for all its seeds), or by (loss, seed).
        flows: the same.
        failed: (loss, seed, learning rate, stage, reason) of each run that failed.
        choices: the learning rate of each loss.
        seconds: of a run, by label; absent: 1.
        references: like `hits`, by the reference's label; None: that one failed.
        folder: where its data are.
        **settings: of the plan.
    """
    seeds = tuple(dict.fromkeys(seed for found in hits.values() for seed in found))
    settings = {"training": Training("mlp", epochs=2, lr=0.1), "seeds": seeds, **settings}
    plan = Plan("toy", **{"losses": tuple(hits), **settings})
    train_counts = train_counts or [1000] * len(sizes)
    validation = evaluate(
        *reversed(logits_of(*[validation_sizes or [9] * len(sizes)] * 2)), train_counts
    )
    records, classical = [], []
    scale = {label: 1 + k / 1024 for k, label in enumerate((*hits, *(references or ())))}
    for label, by_seed in {**hits, **(references or {})}.items():
        for seed, found in by_seed.items():
            if found is None:
                continue
            logits, targets = logits_of(found, sizes)
            logits *= 1 if label in same else scale[label]
            shifted, _ = logits_of((adjusted or hits).get(label, by_seed)[seed], sizes)
            run = {
                "train_counts": list(train_counts),
                "seen_counts": (seen or {}).get(label, list(train_counts)),
                "tau": 1.0,
                "test": evaluate(targets, logits, train_counts).to_dict(),
                "adjusted": score(targets, shifted.argmax(1), len(sizes)).to_dict(),
                "validation": validation.to_dict(),
            }
            if label in (normalized or {}):
                shifted, _ = logits_of(normalized[label][seed], sizes)
                run["normalized"] = score(targets, shifted.argmax(1), len(sizes)).to_dict()
            made = Record(label, seed, {"lr": 0.1}, run, keep_answers(runs, run, logits, targets))
            made.__dict__["timing"] = {"seconds": (seconds or {}).get(label, 1.0)}
            for name, given in (("history", histories), ("flow", flows)):
                given = given or {}
                made.__dict__[name] = given.get((label, seed), given.get(label, []))
            (records if label in hits else classical).append(made)
    rows = {
        f"{loss} {seed} {lr}": (
            {"label": loss, "seed": seed, "trial": {"lr": lr}, "stage": stage},
            reason,
        )
        for loss, seed, lr, stage, reason in failed or ()
    }
    expected = {name: row for name, (row, _) in rows.items()} | {
        f"{label} {seed}": {"label": label, "seed": seed, "trial": {}, "stage": "reference"}
        for label, by_seed in (references or {}).items()
        for seed in by_seed
    }
    kept = folder / "data.safetensors"
    return Study(
        folder=folder,
        plan=plan,
        data={
            "class_names": list(NAMES[: len(sizes)]),
            "train_counts": list(train_counts),
            "test_counts": list(sizes),
            "left_out": [],
            "cautions": [],
            "entry": str(folder / "samples"),
            "fingerprint": str(folder),
            "bytes": kept.exists() and kept.stat().st_size,
            "sha256": kept.exists() and hashlib.sha256(kept.read_bytes()).hexdigest(),
        },
        records=tuple(records),
        tuning=(),
        choices={label: {"lr": lr} for label, lr in (choices or {}).items()},
        failed={name: reason for name, (_, reason) in rows.items()},
        expected=expected,
        environment={},
        references=tuple(classical),
    )


@pytest.fixture(scope="session")
def make(tmp_path_factory):
    return functools.partial(make_study, tmp_path_factory.mktemp("runs"))
