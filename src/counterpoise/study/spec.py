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

Stage = Literal["reference", "tuning", "final"]
TestSplit = Literal["fixed", "per_seed"]


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
        test: "fixed", the data's test split; or "per_seed", one drawn by this run's seed.
    """

    variant: Variant
    seed: int
    stage: Stage
    metric: str
    training: Training
    sources: Mapping[str, str | None]
    data: str
    test: TestSplit = "fixed"

    @property
    def lr(self) -> float:
        """The learning rate, which is a number by now."""
        return cast(float, self.training.lr)

    def to_json(self) -> Content:
        """Return it as `run.json` holds it: mappings, lists, texts and numbers."""
        # The data's fingerprint stands for how images were resized.
        training: Content = {k: v for k, v in asdict(self.training).items() if k != "resize"}
        training["watch"] = list(self.training.watch)
        return {
            "variant": {**asdict(self.variant), "settings": dict(self.variant.settings)},
            "seed": self.seed,
            "stage": self.stage,
            "metric": self.metric,
            "training": training,
            "sources": dict(self.sources),
            "data": self.data,
            **_unless_fixed(self.test),
        }


@dataclass(frozen=True)
class ReferenceSpec:
    """One fit of a classical model: all that was asked for.

    Attributes:
        reference: a key of `registry.REFERENCES`.
        seed: of the split, and of what the model draws.
        validation: share of the training split that is held out, as for the nets.
        data: the fingerprint of the data.
        test: as of a `RunSpec`.
    """

    reference: str
    seed: int
    validation: float
    data: str
    stage: Literal["reference"] = "reference"
    test: TestSplit = "fixed"

    def to_json(self) -> Content:
        """Return it as `run.json` holds it."""
        content = asdict(self)
        return content | _unless_fixed(content.pop("test"))


def _unless_fixed(test: TestSplit) -> Content:
    """Return the entry of a test split that is not the data's."""
    return {} if test == "fixed" else {"test": test}


class RunRow(TypedDict):
    """A run in short, as `study.json` lists it by the name of its folder.

    The learning rate of a reference, which has none, is 0.
    """

    label: str
    seed: int
    lr: float
    stage: Stage


@dataclass(frozen=True)
class Job:
    """All that a worker needs to do a run.

    Attributes:
        spec: what to train or to fit.
        folder: the run's; its name is the run's.
        study: the folder of the study, with its splits.
        samples: their folder in the cache.
        num_classes: of the data.
    """

    spec: RunSpec | ReferenceSpec
    folder: Path
    study: Path
    samples: Path
    num_classes: int


def run_id(spec: Content) -> str:
    """Return the name of a run's folder: readable words, and a digest of the specification.

    Args:
        spec: of `to_json`, or read from a `run.json`.
    """
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    axes = (spec["variant"][axis] for axis in ("norm", "loss", "sampler"))
    words = spec["reference"] if spec["stage"] == "reference" else "-".join(axes)
    readable = re.sub(r"[^A-Za-z0-9_+-]", "_", words)[:60]
    return f"{readable}-{spec['stage']}-{spec['seed']}-{digest[:12]}"
