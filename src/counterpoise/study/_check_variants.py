"""Checks of a plan's axes, tuned fields and single variants, by the names of their fields."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from counterpoise import registry
from counterpoise.registry import nearest
from counterpoise.study._check_words import shown
from counterpoise.study.settings import Imbalance, Training, is_number
from counterpoise.study.variant import WORDS, Variant

if TYPE_CHECKING:
    from counterpoise.study.plan import Plan

# All runs of a study read the same samples, in the same splits, on the same devices.
SHARED = {
    **dict.fromkeys(("image_size", "resize", "interpolation"), "samples are read once for all"),
    **dict.fromkeys(("validation", "watch"), "all are chosen and watched on the same splits"),
    **dict.fromkeys(
        ("devices", "sync_batch_norm", "shard", "stack_seeds"), "it says where runs happen"
    ),
    **dict.fromkeys(("test", "test_largest"), "all are judged on the same test split"),
}
_OPEN = {"model": "auto", "augment": "auto", "batch_size": 0, "epochs": 0}  # by the data
_MOST = 1_000  # values of an axis


def known_fields() -> tuple[str, ...]:
    """Return the names of all fields that can vary, without settings of the user's own code."""
    rows = {"loss": registry.LOSSES, "norm": registry.NORMS, "sampler": registry.SAMPLERS}
    own = {f"{k}.{s}" for k, table in rows.items() for row in table.values() for s in row.settings}
    cut = (f"imbalance.{k}" for k in Imbalance.__dataclass_fields__ if k not in SHARED)
    training = (k for k in Training.__dataclass_fields__ if k not in SHARED)
    return (*WORDS, *training, *sorted(own), *cut)


def check_fields(values: Mapping[str, object], kind: str) -> None:
    """Refuse names of fields that no variant can set by itself.

    Args:
        values: by field.
        kind: of thing that the names are, for the message.

    Raises:
        ValueError: such a name, with the nearest one, or with the reason.
    """
    known = known_fields()
    for key in values:
        table, _, name = str(key).rpartition(".")
        if why := SHARED.get(name) if table in ("", "imbalance", "training") else None:
            raise ValueError(f"{key} must be the same for all variants: {why}; make a study each")
        own = table in ("loss", "norm", "sampler") and name.isidentifier()
        if key not in known and not own:
            near = nearest(str(key), known, cutoff=0.6)
            meant = f"; did you mean {near!r}?" if near else ""
            raise ValueError(
                f"{kind} must be a field of [training], norm, loss or sampler, or one of their "
                f"settings such as loss.gamma or imbalance.factor, but got {key!r}{meant}"
            )


def check_axes(axes: Mapping[str, Any], training: Training) -> None:
    """Refuse axes that are none, before variants are made of them.

    Raises:
        ValueError: a field that does not exist or cannot vary; an empty list, or a value twice.
    """
    check_fields(axes, "an axis")
    for key, values in axes.items():
        check_values(f"axis {key}", values)
        if key in _OPEN and _OPEN[key] in values:
            raise ValueError(
                f"axis {key} must hold what is compared, but {shown(_OPEN[key])} is decided by the "
                "data; give a value"
            )
        default = getattr(Training(), key, None)
        given = getattr(training, key, default)
        if given not in (default, values[0]):
            raise ValueError(
                f"{key} is {shown(given)}, and an axis, too, whose first value, "
                f"{shown(values[0])}, is the baseline's; leave one of them out"
            )


def check_values(what: str, values: object) -> None:
    """Refuse what is no list of values, each once.

    Raises:
        ValueError: such a list.
    """
    several = values if isinstance(values, list | tuple) else ()
    fits = 0 < len(several) <= _MOST
    fits = fits and all(isinstance(v, bool | int | float | str) for v in several)
    if not fits or len({(isinstance(v, bool), v) for v in several}) < len(several):
        raise ValueError(
            f"{what} must be a list of values, one at least, each once, but got {shown(values)}; "
            "they are numbers, words, true or false"
        )


def check_search(plan: "Plan") -> None:
    """Refuse tuned fields that are none, or between whose ends no points can be drawn.

    Raises:
        ValueError: any of these.
    """
    tuning = plan.tuning
    check_fields(tuning.search, "a field of tuning.search")
    for key in (*WORDS, "model"):
        if key in tuning.search:
            raise ValueError(f"{key} is compared, not tuned: put it into [axes], not tuning.search")
    for key, values in tuning.search.items():
        if key.startswith("imbalance."):
            raise ValueError(f"{key} is compared, not tuned: put it into [axes], not tuning.search")
        check_values(f"tuning.search.{key}", values)
        numbers = list(filter(is_number, values))
        if tuning.trials and numbers and not (len(numbers) == len(values) and min(numbers) > 0):
            raise ValueError(
                f"tuning.trials draws points between the logarithms of the ends, so that values "
                f"of {key} must be above 0, but got {shown(values)}; or set trials = 0"
            )
        if key in plan.axes:
            raise ValueError(
                f"{key} is an axis, whose values are compared, and cannot be tuned as well; leave "
                "it out of one"
            )
        if plan.nets and not any(v.takes(key) for v in plan.nets):
            raise ValueError(f"tuning.search.{key} is tuned, but no variant has such a setting")


def check_same(plan: "Plan") -> None:
    """Refuse two variants that would train the same.

    Raises:
        ValueError: there are such.
    """
    known: dict[str, str] = {}
    for label, v in zip(plan.labels, plan.variants, strict=True):
        own = {k: x for k, x in v.fields() if k not in v.training}
        asked = repr((v.norm, v.loss, v.sampler, v.model, sorted(own.items())))
        asked += "" if v.model else repr((plan.training_of(v), plan.trials(v)))
        if asked in known:
            raise ValueError(
                f"variants must differ in what is trained, but {known[asked]!r} and {label!r} are "
                "the same under two names; leave one out"
            )
        known[asked] = label


def check_models(plan: "Plan") -> None:
    """Refuse nets in one study that do not take the same samples.

    Raises:
        ValueError: there are such.
    """
    some = list(trainings(plan))
    some += [plan.training] if any(t.pretrained for t in some) else []
    if len({t.pretrained for t in some}) > 1:
        raise ValueError(
            "the nets of a study are given the same samples, but timm: and torchvision: nets take "
            f"images of their own size, and {next(t.model for t in some if not t.pretrained)} does "
            "not; make a study each, or name them all in training.model or the axis model"
        )
    frozen = {(t.model, t.weights, t.on_features) for t in some}
    if any(t.on_features for t in some) and len(frozen) > 1:
        raise ValueError(
            "heads of a study are trained on the features of one frozen net, but model, weights or "
            "freeze differ among the variants; make a study each"
        )


def trainings(plan: "Plan") -> dict[Training, Variant]:
    """Return the plan's trainings, each with the first of its variants."""
    found: dict[Training, Variant] = {}
    for v in tried(plan):
        found.setdefault(plan.training_of(v), v)
    return found


def tried(plan: "Plan") -> Iterator[Variant]:
    """Yield the nets, and each with every value of a tuned field that it does not set itself."""
    for v in plan.nets:
        yield v
        own = dict(v.fields())
        for key, values in plan.tuning.search.items():
            if key not in own and v.takes(key):
                yield from (v.having({key: value}) for value in values)
