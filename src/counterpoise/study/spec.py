"""The specification of a run; as JSON it stands in `run.json` and names the run's folder."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypedDict, cast

from counterpoise.study.record import Content
from counterpoise.study.settings import Training, Variant

Stage = Literal["tuning", "final"]


@dataclass(frozen=True)
class RunSpec:
    """One training: all that was asked for.

    The environment that its bytes depend on as well is not asked for: the record has it, too.

    Attributes:
        variant: a norm, a loss and a sampler.
        seed: of the split, the order of the samples and the initial weights.
        stage: whether it chooses a learning rate or is reported.
        metric: by which the learning rate is chosen.
        training: the plan's, with this run's learning rate and epochs.
        sources: a digest of the user's own code, by each `module:name` that is used.
        data: the fingerprint of the data.
    """

    variant: Variant
    seed: int
    stage: Stage
    metric: str
    training: Training
    sources: Mapping[str, str | None]
    data: str

    @property
    def lr(self) -> float:
        """The learning rate, which is a number by now."""
        return cast(float, self.training.lr)

    def to_json(self) -> Content:
        """Return it as `run.json` holds it: mappings, lists, texts and numbers."""
        return {
            "variant": {**asdict(self.variant), "settings": dict(self.variant.settings)},
            "seed": self.seed,
            "stage": self.stage,
            "metric": self.metric,
            "training": {**asdict(self.training), "watch": list(self.training.watch)},
            "sources": dict(self.sources),
            "data": self.data,
        }


class RunRow(TypedDict):
    """A run in short, as `study.json` lists it by the name of its folder."""

    label: str
    seed: int
    lr: float
    stage: Stage


@dataclass(frozen=True)
class Job:
    """All that a worker needs to do a run.

    Attributes:
        spec: what to train.
        folder: the run's; its name is the run's.
        study: the folder of the study, with the data.
        num_classes: of the data.
    """

    spec: RunSpec
    folder: Path
    study: Path
    num_classes: int


def run_id(spec: Content) -> str:
    """Return the name of a run's folder: readable words, and a digest of the specification.

    Args:
        spec: of `RunSpec.to_json`, or read from a `run.json`.
    """
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    variant = spec["variant"]
    words = "-".join(variant[axis] for axis in ("norm", "loss", "sampler"))
    readable = re.sub(r"[^A-Za-z0-9_+-]", "_", words)[:60]
    return f"{readable}-{spec['stage']}-{spec['seed']}-{digest[:12]}"
