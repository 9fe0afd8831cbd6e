"""What to run: a tree of frozen dataclasses, which `plan.toml` holds on disk."""

import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from counterpoise import files, registry
from counterpoise.registry import unknown
from counterpoise.study._check import NORMS, as_seeds, check_plan, shown
from counterpoise.study._sources import digest_of

GRIDS = {"sgd": (0.01, 0.03, 0.1, 0.3), "adamw": (3e-4, 1e-3, 3e-3, 1e-2)}
TUNING_SEED = 1_000_000  # from here on count the seeds that are never reported
_DRW = "+drw"
# A key like a.a.a.a: tomllib's time and memory grow with the square of its parts.
_DOTTED = re.compile(r"""(?<![\w"'-])(?:["']?[\w-]++["']?[ \t]*+\.[ \t]*+){20}""")
_MOST_BYTES = 1_000_000  # of a plan on disk


def _field(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


def _names(table: Iterable[str]) -> str:
    return ", ".join(table)


def _settle(part: Any) -> None:
    """Make NumPy's numbers Python's, and lists tuples, in a frozen dataclass."""
    for key in part.__dataclass_fields__:
        object.__setattr__(part, key, _plain(getattr(part, key)))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain_number, value))
    return _plain_number(value)


def _plain_number(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


@dataclass(frozen=True)
class Variant:
    """One way to train: a norm, a loss and a sampler, with the loss's own settings."""

    norm: str = "none"
    loss: str = "cross_entropy"
    sampler: str = "shuffle"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.settings, Mapping):
            settled = {key: _plain(value) for key, value in self.settings.items()}
            settings = {k: list(v) if isinstance(v, tuple) else v for k, v in settled.items()}
            object.__setattr__(self, "settings", settings)

    def __hash__(self) -> int:
        """Equal variants have equal hashes, whatever their settings."""
        return hash((self.norm, self.loss, self.sampler, json.dumps(dict(self.settings))))

    @property
    def deferred(self) -> bool:
        """Whether class weights set in late, as "+drw" behind the loss asks."""
        return self.loss.endswith(_DRW)

    @property
    def plain_loss(self) -> str:
        """The loss without "+drw"."""
        return self.loss.removesuffix(_DRW)


@dataclass(frozen=True)
class Imbalance:
    """A profile of class sizes laid over the data."""

    profile: str = _field("none", "none, linear, exponential or step")
    factor: float = _field(10.0, "how many times larger the largest class is than the smallest")
    largest: int = _field(0, "samples of the largest class; 0: as many as the data allow")
    test: bool = _field(False, "cut the test part as well")
    test_largest: int = _field(0, "as largest, for the test part")
    draw: str = _field("random", "which samples of a class: random or first")

    def __post_init__(self) -> None:
        _settle(self)


@dataclass(frozen=True)
class Training:
    """How every variant is trained."""

    model: str = _field("auto", f"{_names(registry.MODELS)}, module:name; auto: by the data")
    image_size: int = _field(32, "to which a folder of images is scaled")
    epochs: int = _field(20, "passes over the training part")
    batch_size: int = _field(128, "samples a step")
    optimizer: str = _field("sgd", _names(registry.OPTIMIZERS))
    lr: float | str = _field("auto", "a number, or auto: from the grid of [tuning], per variant")
    momentum: float = _field(0.9, "of sgd")
    weight_decay: float = _field(5e-4, "not on norms and biases")
    schedule: str = _field("cosine", _names(registry.SCHEDULES))
    warmup: float = _field(0.05, "share of the training over which the rate rises")
    clip_norm: float = _field(0.0, "largest norm of a step's gradient; 0: any")
    deferred: float = _field(0.8, "after which share of the epochs a loss's +drw weights set in")
    augment: str = _field(
        "none", f"{_names(registry.AUGMENTS)}, module:name: how images are changed at random"
    )
    validation: float = _field(0.1, "share of the training part that choices are made on")
    watch: tuple[str, ...] = _field(
        ("validation",), "evaluated after each epoch: train, validation, test (test: fixed lr only)"
    )

    def __post_init__(self) -> None:
        _settle(self)


@dataclass(frozen=True)
class Tuning:
    """How `lr = "auto"` chooses: the same budget for every variant, on seeds not reported."""

    grid: tuple[float, ...] = _field((), "learning rates to try; empty: the optimizer's usual ones")
    seeds: int = _field(1, "trainings for each of them")
    epochs: int = _field(0, "of each; 0: as many as the real ones")

    def __post_init__(self) -> None:
        _settle(self)


@dataclass(frozen=True)
class Plan:
    """A study: every norm with every loss with every sampler, and single variants besides.

    Raises:
        ValueError: what cannot be run; the message says what must hold, what came, what to do.

    Example:
        >>> plan = Plan("digits", norms=("none", "group"), losses=("cross_entropy", "focal"))
        >>> [plan.label(v) for v in plan.variants]
        ['none, cross_entropy', 'none, focal', 'group, cross_entropy', 'group, focal']
    """

    data: str = _field("fashion_mnist", "fashion_mnist, digits, a folder, .npz, .csv, module:name")
    norms: tuple[str, ...] = _field(("none",), f"{_names(NORMS)}; or module:name")
    losses: tuple[str, ...] = _field(
        ("cross_entropy",), f"{_names(registry.LOSSES)}; +drw: weights that set in late"
    )
    samplers: tuple[str, ...] = _field(("shuffle",), _names(registry.SAMPLERS))
    variant: tuple[Variant, ...] = ()
    seeds: tuple[int, ...] = _field((0, 1, 2, 3, 4), "a number of seeds, or a list of them")
    metric: str = _field(
        registry.PRIMARY[0],
        f"{_names(registry.PRIMARY)}: what verdicts are about, chosen beforehand",
    )
    margin: float = _field(
        registry.METRICS[registry.PRIMARY[0]].margin, "differences below it do not matter"
    )
    baseline: str = _field("", "label of what the others are compared with; empty: the first")
    on_other_environment: str = _field(
        "keep", "keep or rerun: what was trained with another torch, processor or set of kernels"
    )
    imbalance: Imbalance = Imbalance()
    training: Training = Training()
    tuning: Tuning = Tuning()

    def __post_init__(self) -> None:
        _settle(self)
        object.__setattr__(self, "seeds", as_seeds(self.seeds))
        check_plan(self)

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, each once, the baseline first."""
        crossed = itertools.product(self.norms, self.losses, self.samplers)
        every = dict.fromkeys([*(Variant(*words) for words in crossed), *self.variant])
        labels = {self._label(v, list(every)): v for v in every}
        first = labels.get(self.baseline)
        return tuple(sorted(every, key=lambda v: v is not first)) if first else tuple(every)

    def label(self, variant: Variant) -> str:
        """What a variant is called here: the words in which the variants differ."""
        return self.labels[self.variants.index(variant)]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The variants' labels, the baseline's first."""
        return tuple(self._label(v, list(self.variants)) for v in self.variants)

    def _label(self, variant: Variant, every: list[Variant]) -> str:
        axes = [
            getattr(variant, axis)
            for axis in ("norm", "loss", "sampler")
            if len({getattr(v, axis) for v in every}) > 1
        ]
        words = [word.partition(":")[2] or word for word in axes] or [variant.loss]
        return ", ".join([*words, *(f"{k}={v}" for k, v in variant.settings.items())])

    @property
    def size(self) -> str:
        """How many trainings there are, in words."""
        tuning = len(tuning_runs(self))
        final = f"{len(self.variants) * len(self.seeds)} runs to compare"
        return f"{tuning} runs to choose learning rates, then {final}" if tuning else final

    @property
    def grid(self) -> tuple[float, ...]:
        """The learning rates that are tried, none if it is fixed."""
        if self.training.lr != "auto":
            return ()
        return self.tuning.grid or GRIDS[self.training.optimizer]


@dataclass(frozen=True)
class Run:
    """One training: a variant with a seed and a learning rate, for choosing or for reporting."""

    variant: Variant
    seed: int
    lr: float
    stage: str  # "tuning" or "final"
    epochs: int

    def spec(self, plan: Plan, fingerprint: str) -> dict[str, Any]:
        """All that was asked for, as it stands in the run's record and names its folder.

        The environment that its bytes depend on as well is not asked for: the record has it, too.
        """
        training = {
            **asdict(plan.training),
            "watch": list(plan.training.watch),
            "lr": self.lr,
            "epochs": self.epochs,
        }
        variant = {**asdict(self.variant), "settings": dict(self.variant.settings)}
        words = (self.variant.norm, self.variant.plain_loss, self.variant.sampler)
        words += (plan.training.model, plan.training.augment)
        sources = {w: digest_of(w) for w in words if ":" in w}
        return {
            "variant": variant,
            "seed": self.seed,
            "stage": self.stage,
            "metric": plan.metric,
            "training": training,
            "sources": sources,
            "data": fingerprint,
        }


def run_id(spec: Mapping[str, Any]) -> str:
    """The name of a run's folder: readable words, and a digest of all that it depends on."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    variant = spec["variant"]
    words = "-".join(variant[axis] for axis in ("norm", "loss", "sampler"))
    readable = re.sub(r"[^A-Za-z0-9_+-]", "_", words)[:60]
    return f"{readable}-{spec['stage']}-{spec['seed']}-{digest[:12]}"


def tuning_runs(plan: Plan) -> list[Run]:
    """The trainings that choose a learning rate for each variant; none where it is fixed."""
    epochs = plan.tuning.epochs or plan.training.epochs
    return [
        Run(variant, TUNING_SEED + k, lr, "tuning", epochs)
        for variant in plan.variants
        for lr in plan.grid
        for k in range(plan.tuning.seeds)
    ]


def final_runs(plan: Plan, choices: Mapping[str, float]) -> list[Run]:
    """The trainings that are reported, seed by seed; `choices` gives a label's learning rate."""
    return [
        Run(variant, seed, choices[plan.label(variant)], "final", plan.training.epochs)
        for seed in plan.seeds
        for variant in plan.variants
        if plan.label(variant) in choices
    ]


def choose(plan: Plan, scores: Mapping[tuple[str, float], list[float]]) -> dict[str, float]:
    """Return the learning rate with the best mean validation score, for each variant's label.

    Args:
        plan: the study.
        scores: of each label and learning rate, one a tuning seed; without those that failed.

    Of equal ones the lower rate is taken. A variant none of whose rates worked is left out.
    """
    if not plan.grid:
        return {label: float(plan.training.lr) for label in plan.labels}
    chosen = {}
    for label in plan.labels:
        means = {
            lr: math.fsum(found) / len(found)
            for lr in plan.grid
            if len(found := scores.get((label, lr), [])) == plan.tuning.seeds
        }
        if means:
            chosen[label] = min(means, key=lambda lr: (-means[lr], lr))
    return chosen


def read(table: Mapping[str, Any]) -> Plan:
    """Return the plan that a TOML table describes.

    Raises:
        ValueError: an unknown key (with the nearest valid one) or a value of a wrong kind.
    """
    table = dict(table)
    if "variant" in table and not {"norms", "losses", "samplers"} & table.keys():
        table |= {"norms": [], "losses": [], "samplers": []}
    return _build(Plan, table, "")


_PARTS: dict[str, Any] = {"imbalance": Imbalance, "training": Training, "tuning": Tuning}


def read_file(path: Path) -> Plan:
    """Make a plan of a plan.toml.

    Raises:
        ValueError: a file that is no plan, or one that cannot be run.
    """
    try:
        text = files.read(path, most=_MOST_BYTES).decode()
        if _DOTTED.search(text):
            raise ValueError("a key of 20 parts or more")
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"{path} must be a plan, but nests tables too deeply") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be a plan that can be read, but: {error}") from error
    return read(table)


def _build(kind: Any, table: Any, where: str) -> Any:
    if not isinstance(table, Mapping):
        raise ValueError(f"[{where}] must be a table of settings, but got {shown(table)}")
    fields = kind.__dataclass_fields__
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise ValueError(
                unknown(f"a key of {f'[{where}]' if where else 'a plan'}", key, fields)
            )
        if kind is Plan and key in _PARTS:
            values[key] = _build(_PARTS[key], value, key)
        elif kind is Plan and key == "variant" and isinstance(value, list):
            values[key] = tuple(_build(Variant, v, "[variant]") for v in value)
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def write(plan: Plan) -> str:
    """Return the plan as TOML, each key with a comment; `read` reads it back.

    Raises:
        ValueError: a plan that TOML cannot hold.
    """
    lines = ["# A study of counterpoise. Run it with: counterpoise compare plan.toml", ""]
    tables = {"": plan, **{name: getattr(plan, name) for name in _PARTS}}
    for name, part in tables.items():
        lines += ["", f"[{name}]"] if name else []
        for key, f in part.__dataclass_fields__.items():
            if "help" in f.metadata:
                text = f"{key} = {_toml(getattr(part, key))}"
                lines.append(f"{text:40}  # {f.metadata['help']}")
    for v in plan.variant:
        lines += ["", "[[variant]]"]
        lines += [f"{k} = {_toml(getattr(v, k))}" for k in v.__dataclass_fields__]
    text = "\n".join(lines) + "\n"
    try:
        same = read(tomllib.loads(text)) == plan
    except ValueError as error:
        raise ValueError(f"a plan must be one that TOML can hold, but: {error}") from error
    if not same:
        raise ValueError("a plan must be the same when TOML has held it, but this one is another")
    return text


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
