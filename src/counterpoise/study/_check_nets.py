"""Checks of what a plan says of its nets: norms, pretrained nets, early ends."""

from typing import TYPE_CHECKING

from counterpoise import registry
from counterpoise.study._check_words import check_word, shown
from counterpoise.study.settings import Training

if TYPE_CHECKING:
    from counterpoise.study.plan import Plan

NORMS = (*registry.PLAIN_NORMS, *registry.NORMS)


def check_norm(t: Training, norm: str) -> None:
    """Refuse a norm that the plan's nets cannot have.

    Raises:
        ValueError: it is one.
    """
    if t.on_features and norm not in ("auto", "keep"):
        raise ValueError(
            f"norm must be keep where features of a frozen net are trained on, but got {norm!r}: "
            "other layers in it would need training; set freeze = 'none' to fine-tune it"
        )
    if t.pretrained:
        check_word("norm", norm, ("auto", "keep", "batch", *registry.NORMS), imports=False)
    else:
        check_word("norm", norm, ("auto", *NORMS))


def check_pretrained(plan: "Plan", t: Training) -> None:
    """Refuse settings of pretrained nets for others, and those that undo each other.

    Raises:
        ValueError: any of these.
    """
    if t.lora and t.freeze != "none":
        raise ValueError(
            "training.lora freezes all but its adapters and the head, but training.freeze is "
            f"{shown(t.freeze)}; set it to 'none'"
        )
    own = t.weights != "auto" or t.head != "linear" or t.lora
    if t.freeze == "backbone" and not t.pretrained:
        raise ValueError(
            "--features (training.freeze = 'backbone') is of pretrained nets, --model timm:NAME or "
            f"torchvision:NAME, but the model is {shown(t.model)}; for vectors take --model linear"
        )
    if not t.weights:
        raise ValueError("training.weights must be auto, pretrained, none, or a file, but is ''")
    if own and not t.pretrained:
        raise ValueError(
            "training.weights, head and lora are of pretrained nets, "
            f"timm:NAME or torchvision:NAME, but training.model is {shown(t.model)}"
        )
    if t.patience and "validation" not in t.watch:
        raise ValueError(
            "training.patience waits for a better validation score, but training.watch does not "
            "hold 'validation'; add it, or set patience = 0"
        )
    some = (v for v in plan.nets if plan.training_of(v) == t)
    late = [v.loss for v in some if v.deferred or v.sampler == "progressive"]
    if t.patience and late:
        raise ValueError(
            f"training.patience may end a training before what sets in late does, as in {late[0]} "
            "(+drw, progressive); set it to 0, or leave these out"
        )
    if t.head_alone and (t.head_lr != 1 or t.layer_decay != 1):
        raise ValueError(
            "training.head_lr and layer_decay are of nets that are trained as a whole, but here "
            "heads alone are; leave them out"
        )
    if t.patience and t.head_alone:
        raise ValueError(
            "training.patience is of nets that are trained alone, but these are heads that are "
            "trained together; set it to 0"
        )
