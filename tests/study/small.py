"""A small study, and what must be the same of it."""

import hashlib
from pathlib import Path

from counterpoise.study import (
    Plan,
    Training,
    stream,
)
from counterpoise.study import _stream as streaming
from counterpoise.study._work import Work

QUICK = Training("mlp", epochs=2, lr=0.1, batch_size=64)


# The report tells times, and of equally good variants the fastest one is written out.
CHANGES = {"timing.json", ".lock", "error.txt", "report.html", "predictions.csv"}


def files(folder):
    """The bytes of everything that must be the same."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in CHANGES
    }


def plan(**changes):
    return Plan(
        "digits",
        **{
            "norms": ("none",),
            "losses": ("cross_entropy", "focal"),
            "seeds": (0, 1),
            "training": QUICK,
            "references": False,
            **changes,
        },
    )


def run(made, folder, **settings):
    return list(stream({Path(folder): made}, **settings))


def prepared(made, folder, data=None):
    """The final runs of a plan as jobs, without running them."""
    ready = streaming.prepare(folder, made, data, None, None)
    facts = streaming.keep(ready.splits, ready.left_out, folder)
    work = Work(ready.plan, folder, facts, made)
    work.add_final()
    return work
