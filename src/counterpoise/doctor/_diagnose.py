"""Diagnose a net, and try remedies."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from counterpoise.doctor._causes import choose_cause, find_causes
from counterpoise.doctor._checks import check_batch
from counterpoise.doctor._diagnosis import Diagnosis, Numbers, Remedy
from counterpoise.doctor._examine import check_inputs, examine
from counterpoise.doctor._examine_samples import targets_outside
from counterpoise.doctor._setup import MakeOptimizer, TrainingSetup, answer, given_optimizers
from counterpoise.doctor._short_training import as_trained, train_briefly
from counterpoise.doctor._symptoms import Symptom
from counterpoise.doctor._trials import try_remedies
from counterpoise.doctor._verdict import (
    WILL_LEARN,
    WILL_NOT_LEARN,
    decide_verdict,
    describe_losses,
)
from counterpoise.labels import ONE_LOGIT
from counterpoise.probe import Loss
from counterpoise.probe.inspection import inspect
from counterpoise.probe.nested import detach, scale_images

ROUNDS = 11  # of steps

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def diagnose(
    net: nn.Module,
    loss: Loss,
    inputs: object,
    targets: object,
    *,
    lr: float | None = None,
    optimizer: str
    | MakeOptimizer
    | torch.optim.Optimizer
    | Sequence[torch.optim.Optimizer] = "sgd",
    steps: int = 40,
    batch_size: int = 32,
    batch_dim: int = 0,
    whole: bool = False,
    remedies: bool = True,
    seconds: float = 15.0,
) -> Diagnosis:
    """Diagnose whether a net will learn, and if not, in which layer it breaks, why, and what helps.

    Samples, loss, optimizer and net are examined first. Then a copy is trained for up to eleven
    rounds of real steps on batches drawn from the samples, until it is clearly better than any
    constant output; of 240 samples or more a fifth is held out. "Will learn" means: within these
    rounds. Where it does not learn, changes of net, samples and learning rate are each tried on a
    copy of their own, and recommended only if that learns, on the held-out samples as well. How the
    verdict is decided, and how often it was right: docs/doctor.md.

    The net, its gradients, buffers and modes and the state of the random numbers stay as they are;
    the same call gives the same diagnosis, unless time runs out. The copies are in training mode,
    but for modules that are in evaluation mode within a net that is not.

    Args:
        net: any module, as it is before the training.
        loss: called as loss(output of the net, targets); returns a scalar tensor.
        inputs: samples, a few batches if possible: a tensor, a tuple of arguments or a dict of
            named ones, in the dtypes and on the device that the net takes. uint8 images are scaled
            to 0 .. 1.
        targets: passed to the loss; tensors in it have one entry a sample.
        lr: the learning rate; None with optimizers that exist.
        optimizer: "sgd" (plain), "adam", "adamw", a function optimizer(weights, lr=...), such as
            `functools.partial(torch.optim.SGD, momentum=0.9)`, or the optimizer or optimizers of
            the net's parameters that the training will use, of which copies are taken.
        steps: how many steps there are between two measurements.
        batch_size: samples a step.
        batch_dim: the dimension of the inputs that counts the samples.
        whole: each step is on all samples, as of a graph, which cannot be taken apart.
        remedies: whether to try remedies.
        seconds: time after which no further round of steps of the net as it is begins; where it
            ends the training, the verdict is "close", and a note says so.

    Returns:
        The diagnosis; `print` shows it, its `rows` are the table by layer.

    Raises:
        ValueError: fewer than two samples, an lr that is not above 0, steps or batch_size below 1,
            an unknown optimizer, or one that holds no parameter of the net, a loss that gives no
            number, one logit a sample for several classes, a net that does not take the inputs.
        TypeError: a net that is no module, or a loss that cannot be called.
        Exception: whatever the net or the loss raises.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from counterpoise.doctor import diagnose
        >>> _ = torch.manual_seed(0)
        >>> layers = [part for _ in range(20) for part in (nn.Linear(16, 16), nn.ReLU())]
        >>> net = nn.Sequential(*layers, nn.Linear(16, 2))
        >>> x = torch.randn(128, 16)
        >>> found = diagnose(net, nn.CrossEntropyLoss(), x, (x[:, 0] > 0).long(), lr=0.1)
        >>> found.verdict, found.cause
        ('will not learn', 'the signal and the gradient vanish')
        >>> found.recommended[0].change
        'Kaiming initialization of 21 layers'
    """
    setup, notes = _setup(
        net, loss, inputs, targets, lr, optimizer, steps, batch_size, batch_dim, whole
    )
    with inspect(net, seed=0) as inspected:
        modes = {name: module.training for name, module in net.named_modules()}
        as_trained(inspected.net, modes)
        check_inputs(inspected.net, setup.subset(2))
        try:
            symptoms = examine(inspected.net, setup)
            checks = check_batch(inspected.net, setup, symptoms)
            training = train_briefly(
                inspected, setup, max_rounds=ROUNDS, in_float64=True, seconds=seconds
            )
        except (IndexError, RuntimeError, ValueError) as error:
            if _has_one_logit(inspected.net, setup):
                raise ValueError(f"the net answers with one logit a sample; {ONE_LOGIT}") from error
            for symptom in targets_outside(inspected.net, setup):
                return _without_steps(symptom, notes)
            raise
    n, before, after = training.numbers, training.before, training.after
    verdict, sure = decide_verdict(n, symptoms, stopped=training.stopped)
    if training.stopped:
        done = len(training.losses)
        notes.append(f"Stopped after {done} of {training.planned} steps, as they take long.")
    cause, layer, why, tried = None, None, describe_losses(n), list[Remedy]()
    if verdict != WILL_LEARN:
        causes = find_causes(verdict, n, symptoms, before, after)
        if remedies:
            tried, more = try_remedies(net, setup, [c[0] for c in causes])
            notes += more
        cause, layer, why = choose_cause(causes, [r for r in tried if r.worked], n)
        tried.sort(key=lambda remedy: _rank(remedy, cause))
    if not net.training:
        notes.append("The net is in evaluation mode; this is about training mode.")
    return Diagnosis(
        verdict=verdict,
        sure=sure,
        cause=cause,
        layer=layer,
        why=why,
        numbers=n,
        remedies=tuple(tried),
        rows=before.rows,
        rows_after=after.rows if after else (),
        steps=len(training.losses),
        notes=(*(f"{note[0].upper()}{note[1:]}." for note in training.notes), *notes),
        checks=tuple(checks),
    )


def _without_steps(symptom: Symptom, notes: Sequence[str]) -> Diagnosis:
    """Return the diagnosis of a training whose loss raises."""
    none = Numbers(0.0, math.nan, None, math.nan, 0.0, None, 0.0, None, None, 1.0)
    return Diagnosis(
        WILL_NOT_LEARN,
        True,
        symptom.cause,
        symptom.layer,
        symptom.why,
        none,
        (),
        (),
        (),
        0,
        tuple(notes),
    )


def _setup(
    net: nn.Module,
    loss: Loss,
    inputs: object,
    targets: object,
    lr: float | None,
    optimizer: object,
    steps: int,
    batch_size: int,
    batch_dim: int,
    whole: bool,
) -> tuple[TrainingSetup, list[str]]:
    """Check the arguments of `diagnose`; return them, and notes on how they are taken."""
    notes: list[str] = []
    given = ()
    if isinstance(optimizer, torch.optim.Optimizer):
        optimizer = (optimizer,)
    if isinstance(optimizer, Sequence) and not isinstance(optimizer, str):
        if not all(isinstance(one, torch.optim.Optimizer) for one in optimizer) or not optimizer:
            raise ValueError(
                "optimizer must be a word, a function or optimizers, but got "
                f"{[type(one).__name__ for one in optimizer]}"
            )
        given = given_optimizers(net, optimizer)
        lr = lr if lr is not None else float(optimizer[0].param_groups[0]["lr"])
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch.nn.Module, but got a {type(net).__name__}")
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(
            f"loss must be called as loss(output, targets), but got {loss!r}; give a loss, "
            "as torch.nn.CrossEntropyLoss()"
        )
    if lr is None:
        raise ValueError("diagnose needs an lr above 0, but got none; give the learning rate")
    value = loss

    def one_number(output: object, target: object) -> Tensor:
        found = value(output, target)
        if not isinstance(found, Tensor):
            raise ValueError(
                "the loss must return a tensor of one number, but returned a "
                f"{type(found).__name__}"
            )
        return found if not found.dim() else found.mean()

    setup = TrainingSetup(
        loss=loss,
        inputs=scale_images(detach(inputs)),
        targets=detach(targets),
        make_optimizer=_make_optimizer(optimizer) if not given else torch.optim.SGD,
        lr=lr,
        steps=steps,
        batch_size=batch_size,
        batch_dim=batch_dim,
        given=given,
        whole=whole,
    )
    _check(setup)
    reduction = getattr(loss, "reduction", "mean")
    if reduction == "none" or not isinstance(loss, nn.Module):
        setup = replace(setup, loss=one_number)
    if reduction == "none":
        notes.append("The loss gives a number a sample; their mean is taken.")
    return setup, notes


def _has_one_logit(net: nn.Module, setup: TrainingSetup) -> bool:
    """Return True for a net that answers class numbers with (N) or (N, 1)."""
    if not isinstance(setup.targets, torch.Tensor) or setup.targets.is_floating_point():
        return False
    with torch.no_grad():
        output = answer(net, setup.subset().inputs)
    return isinstance(output, torch.Tensor) and output.shape[1:] in ((), (1,))


def _rank(remedy: Remedy, cause: str | None) -> tuple[bool, bool, float]:
    """Sort those that worked first, then those for the cause, then by improvement."""
    improvement = remedy.numbers.improvement
    known = improvement is not None and not math.isnan(improvement)
    return not remedy.worked, remedy.cause != cause, -improvement if known else math.inf


def _make_optimizer(optimizer: object) -> MakeOptimizer:
    if callable(optimizer):
        return optimizer
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise ValueError(
            f"optimizer must be one of {sorted(OPTIMIZERS)} or a function of weights and learning "
            f"rate, but got {optimizer!r}"
        )
    return OPTIMIZERS[optimizer]


def _check(setup: TrainingSetup) -> None:
    if setup.samples < 2:
        raise ValueError(
            "diagnose compares samples and needs two at least, but got "
            f"{setup.samples}; pass a few batches, and batch_dim if the samples do not lie along "
            "the first dimension"
        )
    if not 0 < setup.lr < math.inf or setup.steps < 1 or setup.batch_size < 1:
        raise ValueError(
            "diagnose needs an lr above 0, and steps and batch_size of at least 1, but got "
            f"{setup.lr}, {setup.steps} and {setup.batch_size}"
        )
