"""A study's samples as its runs get them: images, or what a frozen net makes of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from counterpoise.study._prepared import gather
from counterpoise.study.plan import Plan

if TYPE_CHECKING:
    from counterpoise.data import Splits

Progress = Callable[[int, int], None]


class Given(NamedTuple):
    """The samples that runs get.

    Attributes:
        splits: the samples.
        left_out: the warnings of what was left out.
        images: of features, the images that they are of; None for other samples.
    """

    splits: "Splits"
    left_out: tuple[str, ...]
    images: "Splits | None"


def gather_inputs(
    plan: Plan,
    data: "Splits | None" = None,
    on_reading: Progress | None = None,
    on_features: Progress | None = None,
) -> Given:
    """Do as `gather` does; where heads are trained on a frozen net, with its features.

    Args:
        plan: the study.
        data: in place of what `plan.data.source` names.
        on_reading: `on_progress` of `gather`.
        on_features: the same of `features.embed`.

    Raises:
        ValueError: what these refuse, or a net that cannot be made.
    """
    import torch

    t = plan.training
    if not (t.pretrained and plan.nets):
        return Given(*gather(plan, data, on_reading), None)
    from counterpoise.data import in_cache
    from counterpoise.features import embed
    from counterpoise.study._nets import open_backbone

    open_backbone(t)  # what is wrong with it is said before anything is read
    images, left_out = gather(plan, data, on_reading)
    net = open_backbone(t, tuple(images.train.inputs.shape[1:]))
    images = replace(images, notes=(*images.notes, *net.notes))
    if not t.on_features:
        return Given(images, left_out, None)
    images = in_cache(images, plan.data.cache)
    net.to("cuda" if torch.cuda.is_available() else "cpu")
    precision = "float32" if t.precision == "auto" else t.precision
    splits = embed(images, net, cache=plan.data.cache, precision=precision, on_progress=on_features)
    return Given(splits, left_out, images)
