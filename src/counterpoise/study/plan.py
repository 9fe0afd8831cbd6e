"""The plan of a study: a tree of frozen dataclasses, which `plan.toml` holds on disk."""

import itertools
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from counterpoise import files, registry
from counterpoise.registry import unknown
from counterpoise.study._check import as_seeds, check_plan
from counterpoise.study._check_nets import NORMS
from counterpoise.study._check_words import shown
from counterpoise.study.settings import (
    BALANCED,
    SEEDS,
    Data,
    Engine,
    Imbalance,
    Training,
    Tuning,
    Variant,
    setting,
    settle,
)
from counterpoise.study.spec import (
    TestSplit,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Table = TypeVar("Table", bound="DataclassInstance")
GRIDS = {"sgd": (0.01, 0.03, 0.1, 0.3), "adamw": (3e-4, 1e-3, 3e-3, 1e-2)}
FINE_GRIDS = {"sgd": (0.001, 0.003, 0.01, 0.03), "adamw": (3e-5, 1e-4, 3e-4, 1e-3)}  # pretrained
HEAD_GRIDS = {  # of heads, which cost little
    "sgd": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    "adamw": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}
# A key like a.a.a.a: tomllib's time and memory grow with the square of its names.
_DOTTED = re.compile(r"""(?<![\w"'-])(?:["']?[\w-]++["']?[ \t]*+\.[ \t]*+){20}""")
_MOST_BYTES = 1_000_000  # of a plan on disk


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

    data: Data = field(default=Data())
    norms: tuple[str, ...] = setting(
        ("auto",), f"{', '.join(NORMS)}; or module:name; auto: by the data"
    )
    losses: tuple[str, ...] = setting(
        registry.DEFAULT_LOSSES, f"{', '.join(registry.LOSSES)}; +drw: weights that set in late"
    )
    samplers: tuple[str, ...] = setting(("shuffle",), ", ".join(registry.SAMPLERS))
    classical: tuple[str, ...] = setting(
        (),
        f"{', '.join(registry.CLASSICAL)}, module:name: beside the nets, tuned; +balanced: "
        "class_weight",
    )
    variant: tuple[Variant, ...] = ()
    seeds: tuple[int, ...] = setting((), "a number of seeds, or a list of them; []: five")
    metric: str = setting(
        registry.PRIMARY[0],
        f"{', '.join(registry.PRIMARY)}: what verdicts are about, chosen beforehand",
    )
    margin: float = setting(
        registry.METRICS[registry.PRIMARY[0]].margin, "differences below it do not matter"
    )
    baseline: str = setting("", "label of what the others are compared with; empty: the first")
    references: bool = setting(True, "classical models beside the nets, on the same splits")
    on_other_environment: str = setting(
        "keep", "keep or rerun: what was trained with another torch, processor or set of kernels"
    )
    time: str = setting(
        "", "such as 15m or 2h: fewer trials, seeds and steps, until the study takes no longer"
    )
    imbalance: Imbalance = field(default=Imbalance())
    training: Training = field(default=Training())
    tuning: Tuning = field(default=Tuning())
    engine: Engine = field(default=Engine())

    def __post_init__(self) -> None:
        if isinstance(self.data, str):  # the source alone, for short
            object.__setattr__(self, "data", Data(self.data))
        settle(self)
        object.__setattr__(self, "seeds", as_seeds(self.seeds))
        check_plan(self)

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, each once, the baseline first."""
        crossed = itertools.product(self.norms, self.losses, self.samplers)
        nets = [Variant(*words) for words in crossed]
        words = self.classical
        if is_classical(self.training.model):  # there is no net then
            nets, words = [], (self.training.model, *words)
        every = dict.fromkeys([*nets, *map(Variant.of_classical, words), *self.variant])
        labels = {self._label(v, list(every)): v for v in every}
        first = labels.get(self.baseline)
        return tuple(sorted(every, key=lambda v: v is not first)) if first else tuple(every)

    def label(self, variant: Variant) -> str:
        """Return the label of a variant: the words in which the variants differ."""
        return self.labels[self.variants.index(variant)]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The variants' labels, the baseline's first."""
        return tuple(self._label(v, list(self.variants)) for v in self.variants)

    @property
    def nets(self) -> tuple[Variant, ...]:
        """The variants that are nets."""
        return tuple(v for v in self.variants if not v.model)

    def training_of(self, variant: Variant) -> Training:
        """Return the training of a variant: the plan's, but for the fields that it sets itself."""
        return replace(self.training, **variant.training)

    def variant_of(self, label: str) -> Variant:
        """Return the variant of a label."""
        return self.variants[self.labels.index(label)]

    def trials(self, variant: Variant) -> tuple[float, ...]:
        """Return the learning rates, or values of a hyperparameter, that are tried of a variant."""
        return variant.trials(self.grid)

    @property
    def tunes(self) -> bool:
        """True where anything is tried for any variant."""
        return any(map(self.trials, self.variants))

    def _label(self, variant: Variant, every: list[Variant]) -> str:
        nets = [v for v in every if not v.model]
        axes = [
            getattr(variant, axis)
            for axis in ("norm", "loss", "sampler")
            if len({getattr(v, axis) for v in nets}) > 1
        ]
        if variant.model:
            axes = [variant.model]
        words = [word.partition(":")[2] or word for word in axes] or [variant.loss]
        return ", ".join([*words, *(f"{k}={v}" for k, v in variant.settings.items())])

    @property
    def size(self) -> str:
        """The number of trainings, in words."""
        tuning = sum(len(self.trials(v)) for v in self.variants) * self.tuning.seeds
        final = f"{len(self.variants) * (len(self.seeds) or SEEDS)} runs to compare"
        what = "learning rates" if self.nets else "hyperparameters"
        if self.nets and any(v.model and self.trials(v) for v in self.variants):
            what += " and hyperparameters"
        return f"{tuning} runs to choose {what}, then {final}" if tuning else final

    @property
    def test(self) -> TestSplit:
        """Whether the test split is the data's, or each seed draws another one."""
        return "per_seed" if self.data.test == "per_seed" else "fixed"

    @property
    def grid(self) -> tuple[float, ...]:
        """The learning rates that are tried, none if it is fixed."""
        if self.training.lr != "auto":
            return ()
        t = self.training
        usual = HEAD_GRIDS if t.head_alone else FINE_GRIDS if t.pretrained else GRIDS
        return self.tuning.grid or usual[self.optimizer]

    @property
    def regime(self) -> str:
        """A sentence on what is trained of a pretrained net; "" where there is none."""
        t = self.training
        if not (self.nets and t.pretrained):
            return ""
        if t.on_features:
            return (
                f"{t.head.capitalize()} heads on frozen features of {t.model}: what holds for a "
                "head need not hold for a whole net"
            )
        frozen = "" if t.freeze == "none" else f", of which {t.freeze} is frozen"
        frozen = f", by LoRA of rank {t.lora}" if t.lora else frozen
        begun = "from random weights" if t.weights == "none" else "from pretrained weights"
        return f"{t.model}, trained {begun}{frozen}"

    @property
    def optimizer(self) -> str:
        """The optimizer; "auto" is AdamW for pretrained nets that are fine-tuned, and else SGD."""
        t = self.training
        fine = t.pretrained and not t.on_features
        return t.optimizer if t.optimizer != "auto" else "adamw" if fine else "sgd"


def reference_label(word: str) -> str:
    """Return the label of a reference, which no variant can have: its words, with spaces.

    Example:
        >>> reference_label("logistic_regression")
        'logistic regression'
    """
    return word.replace("_", " ")


def is_classical(model: str) -> bool:
    """Return True for the word of a classical model, with or without "+balanced".

    Example:
        >>> is_classical("random_forest+balanced"), is_classical("resnet8")
        (True, False)
    """
    return isinstance(model, str) and model.removesuffix(BALANCED) in registry.CLASSICAL


def read(table: Mapping[str, object]) -> Plan:
    """Return the plan that a TOML table describes.

    Raises:
        ValueError: an unknown key (with the nearest valid one) or a value of a wrong kind.
    """
    table = dict(table)
    if "variant" in table and not {"norms", "losses", "samplers"} & table.keys():
        table |= {"norms": [], "losses": [], "samplers": []}
    return _build(Plan, table, "")


_TABLES = {
    "data": Data,
    "imbalance": Imbalance,
    "training": Training,
    "tuning": Tuning,
    "engine": Engine,
}


def read_file(path: Path) -> Plan:
    """Make a plan of a plan.toml.

    Raises:
        ValueError: a file that is no plan, or one that cannot be run.
    """
    try:
        text = files.read(path, most=_MOST_BYTES).decode()
        if _DOTTED.search(text):
            raise ValueError("a key of 20 names or more")
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"{path} must be a plan, but nests tables too deeply") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be a plan that can be read, but: {error}") from error
    return read(table)


def changed_settings(path: Path, plan: Plan) -> tuple[str, ...]:
    """Return the settings in which a plan.toml differs from a plan, such as "training.lr".

    Those of the engine do not count: nothing of a study depends on them.
    """
    try:
        one, other = (_flat(asdict(without_engine(p))) for p in (plan, read_file(path)))
    except ValueError as error:
        return (f"that it cannot be read ({error})",)
    return tuple(key for key in one if one[key] != other[key])


def without_engine(plan: Plan) -> Plan:
    """Return what a plan asks for, wherever it is done."""
    return replace(plan, engine=Engine())


def _flat(tree: Mapping[str, object]) -> dict[str, object]:
    """Return all settings in one mapping, those of the tables named like training.lr."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        below = _flat(value) if isinstance(value, dict) else None
        flat |= {key: value} if below is None else {f"{key}.{k}": v for k, v in below.items()}
    return flat


def _build(kind: type[Table], table: object, where: str) -> Table:
    if not isinstance(table, Mapping):
        raise ValueError(f"[{where}] must be a table of settings, but got {shown(table)}")
    fields = kind.__dataclass_fields__
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in fields:
            raise ValueError(
                unknown(f"a key of {f'[{where}]' if where else 'a plan'}", key, fields)
            )
        if kind is Plan and key == "data" and isinstance(value, str):
            values[key] = value
        elif kind is Plan and key in _TABLES:
            values[key] = _build(_TABLES[key], value, key)
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
    tables = {"": plan, **{name: getattr(plan, name) for name in _TABLES}}
    for name, table in tables.items():
        lines += ["", f"[{name}]"] if name else []
        for key, f in table.__dataclass_fields__.items():
            if "help" in f.metadata:
                text = f"{key} = {_toml(getattr(table, key))}"
                lines.append(f"{text:40}  # {f.metadata['help']}")
    for v in plan.variant:
        lines += ["", "[[variant]]"]
        keys = ("model", "settings") if v.model else ("norm", "loss", "sampler", "settings")
        lines += [f"{k} = {_toml(getattr(v, k))}" for k in keys]
    text = "\n".join(lines) + "\n"
    try:
        same = read(tomllib.loads(text)) == plan
    except ValueError as error:
        raise ValueError(f"a plan must be one that TOML can hold, but: {error}") from error
    if not same:
        raise ValueError("a plan must be the same when TOML has held it, but this one is another")
    return text


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
