"""A variant of a study: the words and settings in which it differs from the others."""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from counterpoise import registry
from counterpoise.study.settings import BALANCED, plain

WORDS = ("norm", "loss", "sampler")
OWN = {"loss": "settings", "norm": "norm_settings", "sampler": "sampler_settings"}
_TABLES = {**OWN, "imbalance": "imbalance"}  # by what stands before the dot of a field's name
_FAMILIES = {
    "loss": registry.LOSSES,
    "norm": {**registry.PLAIN_NORMS, **registry.NORMS},
    "sampler": registry.SAMPLERS,
}
_DRW = "+drw"  # behind a loss

Trial = dict[str, Any]  # values of tuned fields, by their names


@dataclass(frozen=True)
class Variant:
    """One way to train: words and settings, by which it differs from the other variants.

    With a `model` it is a classical one, a key of `registry.CLASSICAL` or the `module:name` of
    anything with scikit-learn's interface; then the settings are its own, and a list of numbers
    among them is the values that are tried of it. All but `settings` and `imbalance` says nothing
    then.

    Attributes:
        norm: a word of a norm; "auto" for the usual one of the data and the net.
        loss: of a loss; with "+drw" behind it, class weights set in late.
        sampler: of a sampler.
        settings: the loss's own, or the classical model's.
        model: of a classical model; "" for a net.
        training: the fields of `Training` that it sets itself, in place of the plan's.
        norm_settings: the norm's own.
        sampler_settings: the sampler's own.
        imbalance: the fields of `Imbalance` that it sets itself.
    """

    norm: str = "auto"
    loss: str = "cross_entropy"
    sampler: str = "shuffle"
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    norm_settings: Mapping[str, Any] = field(default_factory=dict)
    sampler_settings: Mapping[str, Any] = field(default_factory=dict)
    imbalance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("training", *_TABLES.values()):
            if not isinstance(own := getattr(self, name), Mapping):
                raise ValueError(
                    f"each variant must be a table of settings, and its {name} one, but got {own!r}"
                )
            object.__setattr__(self, name, _settled(own))

    @classmethod
    def of_classical(cls, word: str) -> "Variant":
        """Return the variant of a classical model; "+balanced" behind it weights the classes."""
        balanced = isinstance(word, str) and word.endswith(BALANCED)
        settings = {"class_weight": "balanced"} if balanced else {}
        return cls(model=word.removesuffix(BALANCED) if balanced else word, settings=settings)

    def __hash__(self) -> int:
        """Equal variants have equal hashes, whatever their settings."""
        words = (self.norm, self.loss, self.sampler, self.model)
        return hash((*words, json.dumps(dict(self.fields()))))

    def __str__(self) -> str:
        """Return all that it sets itself: "focal, sam=0.05"."""
        fields = (f"{k}={shown(v)}" for k, v in self.fields())
        return ", ".join([self.model or self.loss, *fields])

    def having(self, values: Mapping[str, Any]) -> "Variant":
        """Return the variant with other values of fields.

        Args:
            values: by the name of a field: norm, loss, sampler; one of `Training`, such as
                "weight_decay"; or a setting of a loss, norm, sampler or of the imbalance, such as
                "loss.gamma", which is left out where the loss takes none.

        Example:
            >>> Variant(loss="focal").having({"loss.gamma": 1, "mix": "mixup"}).settings
            {'gamma': 1}
            >>> Variant(loss="cross_entropy").having({"loss.tau": 1}).settings
            {}
        """
        words = {key: values[key] for key in WORDS if key in values}
        made = replace(self, **words)
        tables: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            table, _, name = key.rpartition(".")
            if key in words or not made.takes(key):
                continue
            attribute = _TABLES.get(table, "training")
            tables.setdefault(attribute, {})[name] = value
        return replace(made, **{k: {**getattr(made, k), **new} for k, new in tables.items()})

    def without(self, keys: Collection[str]) -> "Variant":
        """Return the variant without settings of its own for some fields."""
        training = {k: v for k, v in self.training.items() if k not in keys}
        imbalance = {k: v for k, v in self.imbalance.items() if f"imbalance.{k}" not in keys}
        return replace(self, training=training, imbalance=imbalance)

    def takes(self, key: str) -> bool:
        """Return whether its loss, norm or sampler has a setting, such as "loss.gamma".

        Those of the user's own may have any; fields of other kinds are always there.
        """
        table, _, name = key.partition(".")
        if not name or table not in _FAMILIES:
            return True
        word = self.plain_loss if table == "loss" else getattr(self, table)
        row = _FAMILIES[table].get(word)
        return name in row.settings if row is not None else True

    def fields(self) -> Iterator[tuple[str, Any]]:
        """Yield all that it sets itself beside its words, by the names that `having` takes."""
        yield from self.training.items()
        for table, attribute in _TABLES.items():
            yield from ((f"{table}.{k}", v) for k, v in getattr(self, attribute).items())

    @property
    def deferred(self) -> bool:
        """True where class weights set in late, as "+drw" behind the loss asks."""
        return self.loss.endswith(_DRW)

    @property
    def plain_loss(self) -> str:
        """The loss without "+drw"."""
        return self.loss.removesuffix(_DRW)

    @property
    def tuned(self) -> str:
        """The hyperparameter of a classical model that is tuned; "" for none, and of a net."""
        if not self.model:
            return ""
        listed = [key for key, value in self.settings.items() if isinstance(value, list)]
        row = registry.CLASSICAL.get(self.model)
        if listed:
            return listed[0]
        return row.tuned if row is not None and row.tuned not in self.settings else ""

    def classical_trials(self, number: int) -> tuple[Trial, ...]:
        """Return the values that are tried of a classical model's hyperparameter.

        It has four: the middle ones of them are taken where fewer are asked for, values between the
        same ends, on a logarithmic scale, where there are more. A list of its settings stays as it
        is.

        Args:
            number: of trials that the nets have.
        """
        listed = self.settings.get(self.tuned)
        if isinstance(listed, list):
            return tuple({self.tuned: value} for value in listed)
        if not self.tuned:
            return ()
        grid = registry.CLASSICAL[self.model].grid
        if number <= len(grid):
            first = (len(grid) - number) // 2
            return tuple({self.tuned: value} for value in grid[first : first + number])
        step = math.log(grid[-1] / grid[0]) / (number - 1)
        spread = (grid[0] * math.exp(k * step) for k in range(number))
        whole = isinstance(grid[0], int)
        values = dict.fromkeys(round(x) if whole else float(f"{x:.2g}") for x in spread)
        return tuple({self.tuned: value} for value in values)


def trial_words(trial: Mapping[str, Any]) -> str:
    """Write values that were tried or chosen; "" for none.

    Example:
        >>> trial_words({"lr": 0.1, "weight_decay": 0.0005}), trial_words({"C": 0.3})
        ('lr 0.1, weight_decay = 0.0005', 'C = 0.3')
    """
    return ", ".join(f"lr {v:g}" if k == "lr" else f"{k} = {shown(v)}" for k, v in trial.items())


def shown(value: object) -> str:
    """Write a value as labels and tables have it: 0.0005, true, mixup."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping in the order of its keys, as in JSON, with plain numbers and lists."""
    ordered = sorted(settings.items(), key=lambda item: str(item[0]))
    settled = {key: plain(value) for key, value in ordered}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settled.items()}
