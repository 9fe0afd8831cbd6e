"""Checks of a study's data, and of its plan on these data, made before any run."""

import math
from dataclasses import replace

import torch

from counterpoise import classical, losses, samplers, train
from counterpoise.data import Rows, Splits, check_apart, count_classes
from counterpoise.data.memory import free_memory
from counterpoise.data.splits import check_pair
from counterpoise.net import linear_head, with_cosine_head
from counterpoise.registry import resolve
from counterpoise.study._check_variants import trainings, tried
from counterpoise.study._check_words import shown
from counterpoise.study._imbalance import imbalanced
from counterpoise.study._measure import measure_of
from counterpoise.study._nets import make_net
from counterpoise.study.plan import Plan
from counterpoise.study.plan_file import write
from counterpoise.study.settings import Training
from counterpoise.study.variant import Variant
from counterpoise.text import one_line

_MOST = 1024  # classes of which a loss is tried: a sample of each, so that the logits are a square

_BLOCK = 2**24  # numbers that are looked at at a time
_COPIES = 3  # of a net's weights: themselves, their gradients, what the optimizer keeps


def check_data(data: Splits) -> None:
    """Refuse data that no training could use, whoever gave them.

    Raises:
        TypeError: what is no `Splits`.
        ValueError: a split without samples, splits of other shapes or dtypes, inputs that are not
            finite, a single class, names that UTF-8 cannot write.
    """
    if not isinstance(data, Splits):
        raise TypeError(f"data must be a counterpoise.data.Splits, but got {type(data).__name__}")
    check_pair(data.train, data.test)
    check_apart(data)
    if data.num_classes < 2:
        raise ValueError(f"data must have two classes at least, but got {data.class_names}")
    for what, text in (
        ("name", data.name),
        ("source", data.source),
        *(("class_names", name) for name in data.class_names),
    ):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{what} must be text that UTF-8 can write, but got {shown(text)}; rename it"
            ) from None
    for label, split in data.named().items():
        bad = _count_not_finite(split.inputs, gaps=data.columns is not None)
        if bad:
            raise ValueError(
                f"inputs must be finite, but {bad} of {split.inputs.numel()} numbers of the "
                f"{label} split are NaN or infinite; fill or remove them"
            )


def _count_not_finite(inputs: torch.Tensor | Rows, gaps: bool) -> int:
    """Count infinities, and NaN unless gaps may be, a block at a time, as each needs memory."""
    if not inputs.is_floating_point() or (isinstance(inputs, Rows) and inputs.unstored):
        return 0  # the latter were looked at while they were read
    samples = max(1, _BLOCK // inputs[0].numel())
    wrong = torch.isinf if gaps else lambda block: ~block.isfinite()
    return sum(int(wrong(block).sum()) for block in inputs.split(samples))


def check_plan_on(plan: Plan, data: Splits) -> None:
    """Try all that a plan names on its data, so that misfits are refused before any run.

    The metric is looked up, each sampler and classical model is made, each loss takes a step back
    from logits of 0, each net sees a batch, and the plan is written. What users bring themselves
    is imported and no more: what goes wrong in it is reported by its run. But a loss is called
    where samples are mixed.

    Args:
        plan: the study.
        data: the splits that the runs will read, after the imbalance.

    Raises:
        ValueError: what cannot be made, or not for these samples; the message names it.
    """
    write(plan)
    t, shape = plan.training, tuple(data.train.inputs.shape[1:])
    words = {("augment", x.augment) for x in trainings(plan)}
    words |= {("model", x.model) for x in trainings(plan) if not x.pretrained}
    for v in plan.nets:
        words |= {("norm", v.norm), ("loss", v.plain_loss), ("sampler", v.sampler)}
    for kind, word in sorted(words):
        if ":" in word:
            resolve(kind, word, {})
    counts = count_classes(data.train.targets, data.num_classes)
    measure_of(plan, data.class_names, counts.tolist())
    if t.validation and counts.max() < 2:
        raise ValueError(
            "training.validation needs a class of two samples at least, but each has one in the "
            "training split; set it to 0 and lr to a number, or lower imbalance.factor"
        )
    for v in plan.variants:
        if v.imbalance:
            own = replace(plan.imbalance, **v.imbalance)
            imbalanced(data.train, data.num_classes, own, own.largest)
        if v.model:
            _check_classical(plan, v)
    if not plan.nets:
        return
    for v in plan.nets:
        if ":" not in v.sampler:
            _check_sampler(v, data, t.epochs)
        some = {repr(x.settings): x for x in map(v.having, plan.trials(v) or ({},))}
        for x in some.values() if ":" not in v.plain_loss else ():
            _check_loss(x, counts)
    for x in {x.augment: x for x in trainings(plan)}.values():
        augment = None if ":" in x.augment else train.augmentation(x.augment)
        if augment is not None:
            augment(torch.zeros(2, *shape, dtype=data.train.inputs.dtype), torch.Generator())
    nets = {(plan.training_of(v).model, v.norm, str(v.norm_settings)): v for v in plan.nets}
    for model, norm, v in ((*key[:2], v) for key, v in sorted(nets.items())):
        own = plan.training_of(v)
        if ":" in model and not own.pretrained:
            continue
        if data.train.inputs.dtype not in (torch.uint8, torch.float32):
            raise ValueError(
                f"inputs must be uint8 or float32 for model {model!r}, but are "
                f"{data.train.inputs.dtype}; convert them with .float()"
            )
        if ":" not in norm:
            _check_net(own, v, (min(2, own.batch_size), *shape), data.num_classes)
    for v in tried(plan):
        own = plan.training_of(v)
        if own.mix != "none":
            _check_mix(v, own, counts, shape)
        if own.retrain != "none":
            _check_head(own, v, shape, data.num_classes)


def _check_sampler(variant: Variant, data: Splits, epochs: int) -> None:
    settings = dict(variant.sampler_settings)
    usual = {"epochs": epochs, "num_classes": data.num_classes}
    try:
        samplers.ALL[variant.sampler](data.train.targets, **usual, **settings)
    except TypeError as error:
        raise ValueError(
            f"sampler {variant.sampler!r} must take its settings {shown(settings)}, but: "
            f"{one_line(error)}"
        ) from error


def _check_classical(plan: Plan, variant: Variant) -> None:
    """Make a classical model with each value that is tried of it; nothing is fitted."""
    for trial in plan.trials(variant) or ({},):
        classical.make(variant.model, {**variant.settings, **trial})


def _check_loss(variant: Variant, counts: torch.Tensor) -> None:
    """Take a step back from logits of 0, a sample a class."""
    try:
        loss = losses.ALL[variant.plain_loss](counts, **variant.settings)
        if variant.deferred:
            losses.DeferredReweighting(loss, losses.effective_number_weights(counts), 0)
        targets = torch.arange(min(len(counts), _MOST))
        logits = torch.zeros(len(targets), len(counts), requires_grad=True)
        value = loss(logits, targets)
        if value.dim():
            raise ValueError(f"it gives {value.numel()} numbers where a training needs one")
        (gradient,) = torch.autograd.grad(value, logits)
        if not (value.isfinite() and gradient.isfinite().all() and gradient.any()):
            raise ValueError(
                f"its value is {value.item():g}, and of its gradient at logits of 0 "
                f"{int(gradient.isfinite().logical_and(gradient != 0).sum())} of "
                f"{gradient.numel()} numbers are finite and not 0"
            )
    except Exception as error:  # settings may be of any kind, and torch raises any error
        raise ValueError(
            f"loss {variant.loss!r} must be one to train {len(counts)} classes with, but with "
            f"settings {shown(dict(variant.settings))}: {one_line(error)}"
        ) from error


def _check_mix(v: Variant, t: Training, counts: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Mix two samples, and show their class probabilities to the loss."""
    mix, targets = train.Mix(t.mix, counts, t.mix_alpha), torch.tensor([0, 1])
    _, probabilities = mix(torch.zeros(2, *shape), targets, torch.Generator())
    try:
        loss = resolve("loss", v.plain_loss, losses.ALL)(counts, **v.settings)
        loss(torch.zeros(2, len(counts)), probabilities)
    except Exception as error:
        raise ValueError(
            f"loss {v.loss!r} must take class probabilities (N, C) where training.mix is "
            f"{t.mix!r}, but: {one_line(error)}; set mix to 'none', or take another loss"
        ) from error


def _check_net(t: Training, variant: Variant, batch: tuple[int, ...], num_classes: int) -> None:
    """Show a net a batch of zeros, once it is sure that its weights fit into memory."""
    norm, shape = variant.norm, batch[1:]
    try:
        with torch.device("meta"):
            net = make_net(t, variant, shape, num_classes, weights="none")
            size = 4 * sum(p.numel() for p in net.parameters())
        free = free_memory()
        if free is not None and _COPIES * size > free:
            raise MemoryError(
                f"it needs {_COPIES * size / 2**30:,.1f} GiB at least, and {free / 2**30:,.1f} GiB "
                "are free"
            )
        with torch.no_grad():
            make_net(t, variant, shape, num_classes).train()(torch.zeros(batch))
    except Exception as error:
        raise ValueError(
            f"model {t.model!r} with norm {norm!r} must be made for {batch[0]} samples of shape "
            f"{shape}, but: {one_line(error)}"
        ) from error


def _check_head(t: Training, variant: Variant, shape: tuple[int, ...], num_classes: int) -> None:
    """Show a net two samples, to see that it has a head that can be trained once more."""
    try:
        net = make_net(t, variant, shape, num_classes, weights="none")
        net = with_cosine_head(net) if variant.plain_loss == "ldam" else net
        samples = torch.linspace(0, 1, 2 * math.prod(shape)).view(2, *shape)
        train.RETRAINS[t.retrain](linear_head(net, samples))
    except Exception as error:  # the user's own net may raise anything
        raise ValueError(
            f"training.retrain = {t.retrain!r} needs a net with a linear head, but {t.model!r} "
            f"with loss {variant.loss!r}: {one_line(error)}"
        ) from error
