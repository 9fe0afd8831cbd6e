"""What a study's data and the parts of its plan must fit, told before any run."""

import torch

from counterpoise import losses, train
from counterpoise.data import Data
from counterpoise.study.one_run import build
from counterpoise.study.plan import Plan
from counterpoise.words import find


def check_data(data: Data) -> None:
    """Refuse data that no training could use, whoever gave them.

    Raises:
        ValueError: no samples to test on.
    """
    if not len(data.test):
        raise ValueError(
            "data must have samples to test on, but the test part has none; add some, or give one "
            "part alone, of which a fifth is held out"
        )


def check_parts(plan: Plan, data: Data) -> None:
    """Make each loss and call each net once, so that what does not fit is told before any run.

    What users bring themselves is imported and no more: what goes wrong in it is for its run to
    tell.

    Raises:
        ValueError: a model or a norm that is not made for these samples; settings of a loss.
        TypeError: settings that a loss does not have.
    """
    t, shape, num_classes = plan.training, data.train.inputs.shape[1:], data.num_classes
    words = {("model", t.model), ("augment", t.augment)}
    for v in plan.variants:
        words |= {("norm", v.norm), ("loss", v.plain_loss), ("sampler", v.sampler)}
        if ":" not in v.plain_loss:
            losses.ALL[v.plain_loss](torch.ones(num_classes), **v.settings)
    for kind, word in sorted(words):
        if ":" in word:
            find(kind, word, {})
    augment = train.AUGMENTS.get(t.augment)
    if augment is not None:
        augment(torch.zeros(2, *shape), torch.Generator())
    if ":" in t.model:
        return
    for norm in {v.norm for v in plan.variants if ":" not in v.norm}:
        with torch.no_grad():
            build(t.model, norm, tuple(shape), num_classes).eval()(torch.zeros(2, *shape))
