"""Settings of trainings: the variants, and the tables of a plan.toml, as frozen dataclasses."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from counterpoise import registry

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
TUNING_SEED = 1_000_000  # from here on count the seeds that are never reported
SEEDS = 5  # of a study, if nothing is said
HEADS = ("linear", "cosine", "mlp")  # of pretrained nets
BALANCED = "+balanced"  # behind a classical model
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def setting(default: T, help: str) -> T:
    """Return a dataclass's field that `plan.toml` holds, with its comment there."""
    return field(default=default, metadata={"help": help})


def settle(table: "DataclassInstance") -> None:
    """Make NumPy's numbers Python's, and lists tuples, in a frozen dataclass."""
    for key in table.__dataclass_fields__:
        object.__setattr__(table, key, plain(getattr(table, key)))


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True for a number that is no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_list(value: object) -> object:
    """Return an array, range or generator as a tuple; texts and tables stay."""
    if isinstance(value, str | bytes | Mapping | list) or not isinstance(value, Iterable):
        return value
    return tuple(value)


def plain(value: object) -> object:
    """Return NumPy's numbers as Python's, and lists as tuples."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain_number, value))
    return _plain_number(value)


def _plain_number(value: object) -> object:
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):  # NumPy's, too
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


@dataclass(frozen=True)
class Data:
    """The data of a study, and how they are read; `data.load` takes the same settings."""

    source: str = setting(
        "fashion_mnist",
        "fashion_mnist, digits, a folder of images, a table (.csv, .parquet, …), .npz, "
        "hf:OWNER/NAME, module:name",
    )
    target: str = setting("", "column of the classes; empty: target, label, class or the last one")
    drop: tuple[str, ...] = setting((), "columns that are not read")
    keep: tuple[str, ...] = setting((), "columns that are read although they look like row numbers")
    group: str = setting(
        "", "column, or pattern of file names such as '(p[0-9]+)_': no group is in two splits"
    )
    test: str = setting(
        "auto",
        "auto: the data's own, else held_out, or per_seed for small classes; held_out: a fixed "
        "fifth; per_seed: another fifth for each seed; or a file",
    )
    split: str = setting(
        "", "column that says train, validation or test; or time:COLUMN: the past is trained on"
    )
    min_samples: int = setting(0, "samples that a class must have; 0: one a split")
    small: str = setting("refuse", "what becomes of classes with fewer: refuse, drop or merge")
    missing_labels: str = setting("refuse", "rows of a table without a class: refuse or drop")
    cache: str = setting(
        "auto",
        "the folder in which decoded samples are kept; auto: the user's cache; never: torch "
        "Datasets are read anew in each epoch",
    )

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True)
class Imbalance:
    """A profile of class sizes laid over the data."""

    profile: str = setting("none", "none, linear, exponential or step")
    factor: float = setting(10.0, "how many times larger the largest class is than the smallest")
    largest: int = setting(0, "samples of the largest class; 0: as many as the data allow")
    test: bool = setting(False, "cut the test split as well")
    test_largest: int = setting(0, "as largest, for the test split")
    draw: str = setting("random", "which samples of a class: random or first")

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True)
class Training:
    """The training settings that all variants share; `defaults.fill` decides what is 0 or auto."""

    model: str = setting(
        "auto",
        f"{', '.join(registry.MODELS)}, module:name; auto: by the data; or one of classical, alone",
    )
    image_size: int | tuple[int, ...] = setting(
        0, "to which a folder of images is scaled, such as 224 or [180, 240]; 0: by the files"
    )
    resize: str = setting("crop", "how it comes to that shape: crop, squash or pad")
    interpolation: str = setting(
        "auto", "bilinear or bicubic, between pixels; auto: that of a pretrained net, or bilinear"
    )
    weights: str = setting(
        "auto", "of timm: and torchvision: nets: pretrained, none, or a file; auto: pretrained"
    )
    head: str = setting("linear", "of such nets: linear, cosine or mlp")
    freeze: str = setting(
        "none",
        "parameters that are not trained: none, backbone (all but the head), norms, or a pattern "
        "of their names such as 'body.blocks.[0-3].*'",
    )
    lora: int = setting(
        0, "rank of low-rank adapters (LoRA) in the attention layers of such nets; 0: none"
    )
    epochs: int = setting(0, "passes over the training split; 0: by the data")
    batch_size: int = setting(0, "samples a step; 0: by the data")
    optimizer: str = setting(
        "auto", f"{', '.join(registry.OPTIMIZERS)}; auto: adamw to fine-tune a pretrained net"
    )
    lr: float | str = setting("auto", "a number, or auto: from the grid of [tuning], per variant")
    momentum: float = setting(0.9, "of sgd")
    weight_decay: float = setting(5e-4, "not on norms and biases")
    schedule: str = setting("cosine", ", ".join(registry.SCHEDULES))
    warmup: float = setting(0.05, "share of the training over which the rate rises")
    clip_norm: float = setting(0.0, "largest norm of a step's gradient; 0: any")
    head_lr: float = setting(1.0, "the head's learning rate, as a factor of the others'")
    layer_decay: float = setting(
        1.0, "the factor of the learning rate from each layer to the one before it"
    )
    precision: str = setting(
        "auto",
        "float32, bfloat16 (autocast), or auto: bfloat16 for pretrained nets where it is quick",
    )
    accumulate: int = setting(1, "parts in which a batch is computed, to save memory")
    patience: int = setting(
        0, "epochs without a better validation score after which training ends; 0: all of them"
    )
    compile: bool = setting(False, "torch.compile the net")
    stack_seeds: bool = setting(
        False, "several seeds of a variant as one batch of models: for small nets on a GPU"
    )
    mix: str = setting(
        "none",
        f"{', '.join(registry.MIXES)}: pairs of samples become one, with both classes as "
        "probabilities",
    )
    mix_alpha: float = setting(1.0, "their shares are drawn from Beta(alpha, alpha)")
    ema: float = setting(
        0.0, "decay a step of a moving average of the weights, such as 0.999; 0: none"
    )
    sam: float = setting(
        0.0, "radius of sharpness-aware steps, such as 0.05, which take twice the time; 0: none"
    )
    retrain: str = setting(
        "none",
        f"{', '.join(registry.RETRAINS)}: train the head anew, on balanced samples of the frozen "
        "features",
    )
    retrain_epochs: int = setting(10, "of that second stage")
    retrain_lr: float = setting(0.1, "the same")
    retrain_weight_decay: float = setting(5e-4, "the same")
    deferred: float = setting(0.8, "after which share of the epochs a loss's +drw weights set in")
    augment: str = setting(
        "auto",
        f"{', '.join(registry.AUGMENTS)}, others joined by +, module:name: how images are changed "
        "at random; auto: by the data",
    )
    validation: float = setting(0.1, "share of the training split that choices are made on")
    watch: tuple[str, ...] = setting(
        ("validation",), "evaluated after each epoch: train, validation, test (test: fixed lr only)"
    )
    devices: int | str = setting(
        1, "GPUs, or processes on a CPU, that train one run together, of each node; or all"
    )
    sync_batch_norm: bool = setting(
        True, "of several devices: batch norms take their statistics over the whole batch"
    )
    shard: bool = setting(
        False, "of several devices: each holds a share of the net (FSDP2), for large ones"
    )

    def __post_init__(self) -> None:
        settle(self)

    @property
    def pretrained(self) -> bool:
        """Whether the model is one of timm or torchvision."""
        return self.model.startswith(registry.BACKBONES)

    @property
    def weights_file(self) -> bool:
        """Whether the weights of a pretrained net are those of a file."""
        return self.pretrained and self.weights not in ("auto", "pretrained", "none")

    @property
    def on_features(self) -> bool:
        """Whether heads are trained on the features of a frozen net, computed once."""
        return self.pretrained and self.freeze == "backbone" and self.augment in ("auto", "none")

    @property
    def head_alone(self) -> str:
        """The head that is trained on vectors, with all others of a study: linear, cosine, mlp.

        It is "" for other nets, each of which is trained alone.
        """
        if self.on_features:
            return self.head
        return self.model if self.model in HEADS and self.model != "mlp" else ""


def place(name: str) -> tuple[int, str]:
    """Return where a field stands among others, whatever the order in which they are given.

    Those of `Training` stand in its order, others behind them by their names.
    """
    fields = list(Training.__dataclass_fields__)
    return (fields.index(name), "") if name in fields else (len(fields), name)


@dataclass(frozen=True)
class Tuning:
    """The search for `lr = "auto"` and other fields: equal for all variants, on seeds not reported.

    `search` names fields as axes do; "lr" among them is `grid`.
    """

    grid: tuple[float, ...] = setting(
        (), "learning rates to try; empty: the optimizer's usual ones"
    )
    search: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={"help": "more fields to try, such as { weight_decay = [1e-4, 1e-3] }"},
    )
    trials: int = setting(
        0, "points drawn between the ends of these lists, for all variants; 0: all combinations"
    )
    seeds: int = setting(1, "trainings for each of them")
    epochs: int = setting(0, "of each; 0: a third of the real ones, or all of fewer than 15")

    def __post_init__(self) -> None:
        if isinstance(self.search, Mapping):
            ordered = sorted(self.search.items(), key=lambda item: place(str(item[0])))
            search = {k: plain(as_list(v)) for k, v in ordered}
            search = {k: list(v) if isinstance(v, tuple) else v for k, v in search.items()}
            grid = search.pop("lr", self.grid)
            if self.grid not in ((), [], grid):
                raise ValueError(
                    f"learning rates to try must be said once, but are {self.grid} in tuning.grid, "
                    f"and {grid} in tuning.search"
                )
            object.__setattr__(self, "search", search)
            object.__setattr__(self, "grid", grid)
        settle(self)


@dataclass(frozen=True)
class Engine:
    """Where runs happen, and what each of them may use; nothing but nodes changes their bytes."""

    name: str = setting("local", "local, ray or slurm: where runs happen")
    workers: int = setting(0, "runs at a time; 0: as many as there is room for")
    cpus: float = setting(1.0, "of a run, or of each of its devices, on ray and slurm")
    gpus: float = setting(0.0, "the same; 0.25: four share one, on ray")
    memory: str = setting("", "of a run, such as 4GB, on ray and slurm")
    nodes: int = setting(1, "machines that train one run together, on ray and slurm")
    time: str = setting(
        "", "of a task on slurm; empty: 2h; what takes longer is resumed in another"
    )
    retries: int = setting(3, "times that a run is begun again after its process or node was lost")
    address: str = setting("", "of a Ray cluster; empty: the one that is there, or one made here")
    storage: str = setting("", "a folder or s3://… to which workers on ray write, in place of here")
    partition: str = setting("", "of slurm")
    chunk: int = setting(0, "runs that a task on slurm does in turn; 0: one, more from 300 runs on")
    options: Mapping[str, Any] = field(
        default_factory=dict, metadata={"help": "more of sbatch, such as { qos = 'low' }"}
    )

    def __post_init__(self) -> None:
        settle(self)


def seconds_of(text: str) -> float:
    """Return the seconds that a text such as 90s, 15m, 2h or 1h30m stands for; a number: minutes.

    Raises:
        ValueError: anything else.

    Example:
        >>> seconds_of("15m"), seconds_of("1h30m"), seconds_of("2")
        (900.0, 5400.0, 120.0)
    """
    text = f"{text}m" if re.fullmatch(r"\d+(\.\d+)?", text) else text
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    if not parts or "".join(n + unit for n, unit in parts) != text:
        raise ValueError(f"time must be like 90s, 15m, 2h or 1h30m, but got {text!r}")
    seconds = sum(float(n) * _UNITS[unit] for n, unit in parts)
    if not 0 < seconds < math.inf:
        raise ValueError(f"time must be more than 0, but got {text!r}")
    return seconds


def bytes_of(text: str) -> int:
    """Return the bytes that a text such as 20GB, 500 MB or 1000 stands for.

    Raises:
        ValueError: anything else.

    Example:
        >>> bytes_of("1.5GB"), bytes_of("20")
        (1500000000, 20)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    if not found:
        raise ValueError(f"a size must be like 20GB, 500MB or 0, but got {text!r}")
    return int(float(found[1]) * _BYTES[found[2]])
