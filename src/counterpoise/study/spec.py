"""The specification of a run; as JSON it stands in `run.json` and names the run's folder."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

from counterpoise.metrics import Measure
from counterpoise.study.record import Content
from counterpoise.study.settings import Training
from counterpoise.study.variant import OWN, Variant, trial_words

DEVICES = ("devices", "sync_batch_norm", "shard")  # settings of several
# Those that say how samples are read, for which the data's fingerprint stands; and, left out where
# they are as usual, those that came after runs had been named without them.
READING = ("resize", "interpolation")
LATER = (
    *("weights", "head", "freeze", "lora", "head_lr", "layer_decay"),
    *("precision", "accumulate", "patience", "compile", "stack_seeds"),
    *("mix", "mix_alpha", "ema", "sam"),
    *("retrain", "retrain_epochs", "retrain_lr", "retrain_weight_decay"),
)
Stage = Literal["reference", "tuning", "final", "refit"]
TestSplit = Literal["fixed", "per_seed"]


@dataclass(frozen=True)
class RunSpec:
    """One training: all that was asked for.

    The environment that its bytes depend on as well is not asked for: the record has it, too.

    Attributes:
        variant: a norm, a loss and a sampler with their settings.
        seed: of the split, the order of the samples and the initial weights.
        stage: whether it chooses a learning rate or is reported; or, with the validation samples
            among those to train on, is neither and exported.
        metric: by which the learning rate is chosen.
        training: the plan's, with this run's learning rate and epochs.
        sources: a digest of the user's own code, by each `module:name` that is used.
        data: the fingerprint of the data.
        test: "fixed", the data's test split; or "per_seed", one drawn by this run's seed.
        imbalance: the fields of the profile that is laid over its training split; None where it is
            the same for all runs of the study, and laid over the data beforehand.
        measure: what is computed for the study's metric alone; None where all runs record it.
    """

    variant: Variant
    seed: int
    stage: Stage
    metric: str
    training: Training
    sources: Mapping[str, str | None]
    data: str
    test: TestSplit = "fixed"
    imbalance: Mapping[str, Any] | None = None
    measure: Measure | None = None

    @property
    def lr(self) -> float:
        """The learning rate, which is a number by now."""
        return cast(float, self.training.lr)

    def to_json(self) -> Content:
        """Return it as `run.json` holds it: mappings, lists, texts and numbers."""
        t, fields = self.training, Training.__dataclass_fields__
        without = {*READING, *(DEVICES if t.devices == 1 else ())}
        without |= {key for key in LATER if getattr(t, key) == fields[key].default}
        training: Content = {k: v for k, v in asdict(t).items() if k not in without}
        training["watch"] = list(self.training.watch)
        if t.weights_file:  # whose digest is in the sources, wherever it lies
            training["weights"] = "file"
        if t.weights == "pretrained":  # as auto is
            del training["weights"]
        variant = {key: getattr(self.variant, key) for key in ("norm", "loss", "sampler")}
        variant["settings"] = dict(self.variant.settings)
        variant |= {k: dict(own) for k in OWN.values() if (own := getattr(self.variant, k))}
        return {
            "variant": variant,
            "seed": self.seed,
            "stage": self.stage,
            "metric": self.metric,
            "training": training,
            "sources": dict(self.sources),
            "data": self.data,
            **_if_any(self),
        }


@dataclass(frozen=True)
class ClassicalSpec:
    """One fit of a classical model that is a variant: all that was asked for.

    Attributes:
        variant: with a `model`.
        seed: of the split, and of what the model draws.
        stage: as of a `RunSpec`.
        value: of the variant's `tuned`; 0 where nothing is.
        validation: share of the training split that choices are made on, as for the nets.
        sources: a digest of the user's own code, if the model is such.
        data: the fingerprint of the data.
        test: as of a `RunSpec`.
        imbalance: as of a `RunSpec`.
        measure: as of a `RunSpec`.
    """

    variant: Variant
    seed: int
    stage: Stage
    value: float
    validation: float
    sources: Mapping[str, str | None]
    data: str
    test: TestSplit = "fixed"
    imbalance: Mapping[str, Any] | None = None
    measure: Measure | None = None

    @property
    def settings(self) -> Content:
        """The hyperparameters that the model is made with."""
        tuned = {self.variant.tuned: self.value} if self.variant.tuned and self.value else {}
        return {**self.variant.settings, **tuned}

    def to_json(self) -> Content:
        """Return it as `run.json` holds it: mappings, lists, texts and numbers."""
        return {
            "model": self.variant.model,
            "settings": self.settings,
            "tuned": self.variant.tuned,
            "value": self.value,
            "seed": self.seed,
            "stage": self.stage,
            "validation": self.validation,
            "sources": dict(self.sources),
            "data": self.data,
            **_if_any(self),
        }


@dataclass(frozen=True)
class ReferenceSpec:
    """One fit of a classical model: all that was asked for.

    Attributes:
        reference: a key of `registry.REFERENCES`.
        seed: of the split, and of what the model draws.
        validation: share of the training split that is held out, as for the nets.
        data: the fingerprint of the data.
        stage: "reference"; or "refit", with the validation samples among those to fit it on.
        test: as of a `RunSpec`.
        imbalance: as of a `RunSpec`.
        measure: as of a `RunSpec`.
        sources: a digest of the user's own code, if the measure is such.
    """

    reference: str
    seed: int
    validation: float
    data: str
    stage: Literal["reference", "refit"] = "reference"
    test: TestSplit = "fixed"
    imbalance: Mapping[str, Any] | None = None
    measure: Measure | None = None
    sources: Mapping[str, str | None] = field(default_factory=dict)

    def to_json(self) -> Content:
        """Return it as `run.json` holds it."""
        keys = ("reference", "seed", "validation", "data", "stage")
        own = {"sources": dict(self.sources)} if self.sources else {}
        return {key: getattr(self, key) for key in keys} | own | _if_any(self)


def _if_any(spec: "AnySpec") -> Content:
    """Return the entries of splits that are not those of the data, and of a measure."""
    own: Content = {} if spec.test == "fixed" else {"test": spec.test}
    own |= {} if spec.imbalance is None else {"imbalance": dict(spec.imbalance)}
    return own | ({"measure": spec.measure.to_json()} if spec.measure else {})


class RunRow(TypedDict):
    """A run in short, as `study.json` lists it by the name of its folder.

    `trial` holds the values of the variant's tuned fields: those it tries, or those chosen for it.
    `also` has those of further variants whose run it is, too, by label: they ask for the very same.
    """

    label: str
    seed: int
    trial: dict[str, Any]
    stage: Stage
    also: NotRequired[dict[str, dict[str, Any]]]


def labels_of(row: RunRow) -> tuple[str, ...]:
    """Return the labels of all variants whose run it is."""
    return tuple(trials_of(row))


def trials_of(row: RunRow) -> dict[str, dict[str, Any]]:
    """Return what the run tries, or was chosen for it, for each variant whose run it is."""
    return {row["label"]: row["trial"], **row.get("also", {})}


AnySpec = RunSpec | ClassicalSpec | ReferenceSpec


def run_words(row: RunRow) -> str:
    """Say which run of its label one is: what it tries, or its seed."""
    if row["stage"] == "tuning":
        return trial_words(row["trial"])
    return f"seed {row['seed']}"


@dataclass(frozen=True)
class Nodes:
    """The nodes that train a run together, as one of them sees them.

    Attributes:
        number: of nodes.
        rank: of this one; the first one, 0, writes the record and sends the events.
        host: of the first one.
        port: where they meet there; 0 on the first one, which opens one.
    """

    number: int = 1
    rank: int = 0
    host: str = "localhost"
    port: int = 0


@dataclass(frozen=True)
class Job:
    """All that a worker needs to do a run.

    Attributes:
        spec: what to train or to fit.
        folder: the run's; its name is the run's.
        study: the folder of the study, with its splits.
        samples: their folder in the cache; or the `module:name` of the Datasets that they are read
            from anew each time.
        num_classes: of the data.
        readers: processes that read such samples.
        nodes: that do it.
    """

    spec: AnySpec
    folder: Path
    study: Path
    samples: Path | str
    num_classes: int
    readers: int = 1
    nodes: Nodes = Nodes()


def run_id(spec: Content) -> str:
    """Return the name of a run's folder: readable words, and a digest of the specification.

    Args:
        spec: of `to_json`, or read from a `run.json`.
    """
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    if spec["stage"] == "reference" or "model" in spec:
        words = spec["reference"] if spec["stage"] == "reference" else spec["model"]
    else:
        words = "-".join(spec["variant"][axis] for axis in ("norm", "loss", "sampler"))
    readable = re.sub(r"[^A-Za-z0-9_+-]", "_", words)[:60]
    return f"{readable}-{spec['stage']}-{spec['seed']}-{digest[:12]}"
