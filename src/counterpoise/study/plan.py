"""The plan of a study: a tree of frozen dataclasses."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from counterpoise import registry
from counterpoise.study._axes import ALL, BASELINE, DESIGNS, combine, labels_of
from counterpoise.study._check import as_seeds, check_plan, most_of
from counterpoise.study._check_kinds import check_types
from counterpoise.study._check_nets import NORMS
from counterpoise.study._check_variants import check_axes
from counterpoise.study._check_words import shown
from counterpoise.study._trials import distinct, trial_list
from counterpoise.study.settings import (
    BALANCED,
    SEEDS,
    Data,
    Engine,
    Imbalance,
    Training,
    Tuning,
    as_list,
    place,
    plain,
    setting,
    settle,
)
from counterpoise.study.spec import TestSplit
from counterpoise.study.variant import WORDS, Trial, Variant

GRIDS = {"sgd": (0.01, 0.03, 0.1, 0.3), "adamw": (3e-4, 1e-3, 3e-3, 1e-2)}
FINE_GRIDS = {"sgd": (0.001, 0.003, 0.01, 0.03), "adamw": (3e-5, 1e-4, 3e-4, 1e-3)}  # pretrained
HEAD_GRIDS = {  # of heads, which cost little
    "sgd": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    "adamw": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}


@dataclass(frozen=True)
class Plan:
    """A study: every norm with every loss with every sampler, and single variants besides.

    `axes` vary further fields: those of `Training` by their names, settings of losses, norms,
    samplers and of the imbalance by names such as "loss.gamma". What is no axis is the same for
    all: where there are axes, and losses are not named, the loss is cross entropy.

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
        ("auto",), f"{', '.join(registry.LOSSES)}; +drw: weights that set in late"
    )
    samplers: tuple[str, ...] = setting(("shuffle",), ", ".join(registry.SAMPLERS))
    classical: tuple[str, ...] = setting(
        (),
        f"{', '.join(registry.CLASSICAL)}, module:name: beside the nets, tuned; +balanced: "
        "class_weight",
    )
    axes: Mapping[str, Any] = field(default_factory=dict)
    design: str = setting("cross", "; ".join(f"{k}: {v}" for k, v in DESIGNS.items()))
    variant: tuple[Variant, ...] = ()
    seeds: tuple[int, ...] = setting(
        (), 'a number of seeds, or a list of them; []: five; "auto:20": five, and most_seeds = 20'
    )
    most_seeds: int = setting(
        0, "seeds are added while a verdict is open, up to so many; 0: seeds is all there are"
    )
    sequential: bool = setting(
        False, "verdicts that stay valid when seeds are added later, for wider intervals"
    )
    metric: str = setting(
        registry.PRIMARY[0],
        f"{', '.join(registry.PRIMARY)}, module:name: what verdicts are about, chosen beforehand",
    )
    margin: float = setting(0.0, "differences below it do not matter; 0: the metric's own")
    costs: str = setting("", "of expected_cost: a .csv, rows true and columns predicted classes")
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
        if most := most_of(self.seeds):
            object.__setattr__(self, "most_seeds", most)
            object.__setattr__(self, "seeds", ())
        object.__setattr__(self, "seeds", as_seeds(self.seeds))
        for key, value in _settled_axes(self).items():
            object.__setattr__(self, key, value)
        if len(self.norms) == 1:  # that of variants that name none
            object.__setattr__(self, "variant", tuple(map(self._with_norm, self.variant)))
        check_plan(self)

    def _with_norm(self, variant: Variant) -> Variant:
        is_open = isinstance(variant, Variant) and variant.norm == "auto" and not variant.model
        return replace(variant, norm=self.norms[0]) if is_open else variant

    @cached_property
    def _designed(self) -> list[Variant]:
        """The nets that the design makes of the axes."""
        words = {"norm": self.norms, "loss": self.losses, "sampler": self.samplers}
        if is_classical(self.training.model) or not all(words.values()):
            return []
        made = combine({**words, **self.axes}, self.design)
        for key in self.axes:
            why = [self.idle(key, v) for v in made]
            if all(why):
                raise ValueError(f"{key} is an axis, but changes nothing: {why[0]} everywhere")
        kept = (v.without([k for k in self.axes if self.idle(k, v)]) for v in made)
        return list(dict.fromkeys(kept))

    def idle(self, key: str, variant: Variant) -> str:
        """Return why a field changes nothing for a net, such as mix_alpha without mixing; or ""."""
        t, profile = self.training_of(variant), {**vars(self.imbalance), **variant.imbalance}
        reasons = {
            "mix_alpha": "mix is none" if t.mix == "none" else "",
            "deferred": "" if variant.deferred else "no loss has +drw",
            "momentum": "" if optimizer_of(t) == "sgd" else f"the optimizer is {t.optimizer}",
        }
        if key.startswith("retrain_"):
            return "retrain is none" if t.retrain == "none" else ""
        if key.startswith("imbalance.") and key != "imbalance.profile":
            return "imbalance.profile is none" if profile["profile"] == "none" else ""
        return reasons.get(key, "")

    @cached_property
    def _labeled(self) -> dict[str, Variant]:
        words = self.classical
        if is_classical(self.training.model):  # there is no net then
            words = (self.training.model, *words)
        own = self._designed
        every = list(dict.fromkeys([*own, *map(Variant.of_classical, words), *self.variant]))
        labels = labels_of(every, len(own), self.design)
        if len(set(labels)) < len(labels):
            raise ValueError(f"variants must have different names, but these are {labels}")
        found = dict(zip(labels, every, strict=True))
        order = sorted(found, key=lambda label: label != self.baseline)
        return {label: found[label] for label in order}

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, each once, the baseline first."""
        return tuple(self._labeled.values())

    def label(self, variant: Variant) -> str:
        """Return the label of a variant: the words in which the variants differ."""
        return self.labels[self.variants.index(variant)]

    @property
    def labels(self) -> tuple[str, ...]:
        """The variants' labels, the baseline's first: the words in which they differ."""
        return tuple(self._labeled)

    @property
    def nets(self) -> tuple[Variant, ...]:
        """The variants that are nets."""
        return tuple(v for v in self.variants if not v.model)

    def training_of(self, variant: Variant) -> Training:
        """Return the training of a variant: the plan's, but for the fields that it sets itself."""
        own: dict[str, Any] = dict(variant.training)
        for key, value in own.items():
            usual = Training.__dataclass_fields__[key].default
            if type(value) is int and (key == "lr" or isinstance(usual, float)):
                with suppress(OverflowError):
                    own[key] = float(value)
        return replace(self.training, **own)

    def variant_of(self, label: str) -> Variant:
        """Return the variant of a label."""
        return self.variants[self.labels.index(label)]

    def trials(self, variant: Variant) -> tuple[Trial, ...]:
        """Return what is tried of a variant: values of all tuned fields that it does not set.

        All nets have one list: where a variant sets a field itself, it is left out of each trial.
        A classical model has as many trials of its own hyperparameter.
        """
        if variant.model:
            return variant.classical_trials(len(trial_list(self.grids(), self.tuning.trials)))
        own = {key for key, value in variant.fields() if (key, value) != ("lr", "auto")}
        own |= {"lr"} if self.training_of(variant).lr != "auto" else set()
        some = trial_list(self.grids(variant), self.tuning.trials)
        kept = [{k: v for k, v in t.items() if k not in own and variant.takes(k)} for t in some]
        kept = [{k: v for k, v in t.items() if not self.idle(k, variant.having(t))} for t in kept]
        return tuple(filter(None, distinct(kept)))

    def grids(self, variant: Variant | None = None) -> dict[str, Sequence[Any]]:
        """Return the values that are tried, by field; learning rates by the variant's optimizer."""
        t = self.training_of(variant) if variant else self.training
        usual = HEAD_GRIDS if t.head_alone else FINE_GRIDS if t.pretrained else GRIDS
        tuned = any(x.lr == "auto" for x in (self.training, *map(self.training_of, self.nets)))
        rates = self.tuning.grid or usual[optimizer_of(t)]
        return {**({"lr": rates} if tuned else {}), **self.tuning.search}

    @property
    def tuned(self) -> tuple[str, ...]:
        """The fields of which values are tried for any net."""
        return tuple(dict.fromkeys(k for v in self.nets for t in self.trials(v) for k in t))

    @property
    def tunes(self) -> bool:
        """True where anything is tried for any variant."""
        return any(map(self.trials, self.variants))

    @property
    def size(self) -> str:
        """The number of trainings, in words."""
        tuning = sum(len(self.trials(v)) for v in self.variants) * self.tuning.seeds
        n, seeds = len(self.variants), len(self.seeds) or SEEDS
        final = f"{n * seeds} runs to compare"
        if self.most_seeds:
            most = self.most_seeds
            final += f" with {seeds} seeds at first, and {n * most} with {most} at most"
        names = ["learning rates" if k == "lr" else k for k in self.tuned]
        what = " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
        what = what or "hyperparameters"
        if self.tuned and any(v.model and self.trials(v) for v in self.variants):
            what += " and hyperparameters"
        return f"{tuning} runs to choose {what}, then {final}" if tuning else final

    @property
    def test(self) -> TestSplit:
        """Whether the test split is the data's, or each seed draws another one."""
        return "per_seed" if self.data.test == "per_seed" else "fixed"

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
    def design_words(self) -> str:
        """A sentence on what the variants of single changes are; "" of other designs."""
        if self.design == "cross" or len(self._designed) < 2:
            return ""
        first = f"{BASELINE if self.design == 'one_by_one' else ALL}: {self._designed[0]}"
        if self.design == "one_by_one":
            return f"{first}; each other variant changes what it is named by"
        return f"{first}; each other variant is without what it names"

    @property
    def optimizer(self) -> str:
        """The plan's optimizer: `optimizer_of` its training."""
        return optimizer_of(self.training)


def optimizer_of(t: Training) -> str:
    """Return the optimizer; "auto" is AdamW for pretrained nets to be fine-tuned, and else SGD."""
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


def _settled_axes(plan: Plan) -> dict[str, object]:
    """Return the plan's fields that its axes decide.

    Those of norm, loss and sampler are fields of the plan, classical models among the models are
    variants beside the nets, and the training has the first value of each other axis.
    """
    if not isinstance(plan.axes, Mapping):
        raise ValueError(
            "axes must be lists of values by field, such as { weight_decay = [1e-4, 1e-3] }, but "
            f"got {shown(plan.axes)}"
        )
    check_types(plan)
    axes: dict[str, Any] = {}
    for key, values in plan.axes.items():
        below = values.items() if isinstance(values, Mapping) else ()
        axes |= {f"{key}.{k}": v for k, v in below} if below else {key: values}
    axes = {key: plain(as_list(values)) for key, values in axes.items()}
    found: dict[str, object] = {"design": axes.pop("design", plan.design)}
    if plan.design not in ("cross", found["design"]):
        raise ValueError(f"design must be said once, but is {found['design']!r} in [axes], too")
    for word in WORDS:
        if word in axes:
            found[f"{word}s" if word != "loss" else "losses"] = axes.pop(word)
    named = set(axes) - {"model"} or plan.design != "cross" or len(found) > 1
    named = named or any(not is_classical(m) for m in axes.get("model", ()))
    usual = ("cross_entropy",) if named else registry.DEFAULT_LOSSES
    losses = found.get("losses", plan.losses)
    found["losses"] = usual if losses == ("auto",) else losses
    models = axes.get("model", ())
    if isinstance(models, tuple):
        classical = tuple(filter(is_classical, models))
        found["classical"] = (*plan.classical, *(w for w in classical if w not in plan.classical))
        nets = tuple(m for m in models if m not in classical)
        axes |= {"model": nets} if nets else {}
        if classical and not nets and not named:  # there is no net then
            del axes["model"]
            own = replace(plan.training, model=classical[0])
            found |= {"training": own, "classical": (*plan.classical, *classical[1:])}
            return found | {"axes": axes}
    check_axes(axes, plan.training)
    first = {k: values[0] for k, values in axes.items() if "." not in k}
    axes = dict(sorted(axes.items(), key=lambda item: place(item[0])))
    return found | {"axes": axes, "training": replace(plan.training, **first)}
