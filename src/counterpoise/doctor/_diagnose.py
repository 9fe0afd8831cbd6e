"""Diagnose a net, and try remedies."""

import math
from dataclasses import replace

import torch
from torch import nn

from counterpoise.doctor._diagnosis import Diagnosis, Remedy
from counterpoise.doctor._remedies import (
    Change,
    add_norms,
    add_shortcuts,
    hidden_layers,
    kaiming,
    norms_and_kaiming,
)
from counterpoise.doctor._short_training import train_briefly
from counterpoise.doctor._snapshot import MakeOptimizer, TrainingSetup
from counterpoise.doctor._verdict import (
    NOTHING,
    TOO_HIGH,
    WILL_DIVERGE,
    WILL_LEARN,
    decide_verdict,
    describe_losses,
    find_cause,
)
from counterpoise.labels import ONE_LOGIT
from counterpoise.probe import Loss
from counterpoise.probe.inspection import Inspected, inspect
from counterpoise.probe.nested import call, detach, scale_images

ROUNDS = 3  # of steps, for the net as it is; a remedy has to show within one

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
    lr: float,
    optimizer: str | MakeOptimizer = "sgd",
    steps: int = 40,
    batch_size: int = 32,
    batch_dim: int = 0,
    remedies: bool = True,
) -> Diagnosis:
    """Diagnose whether a net will learn, and if not, in which layer it breaks, why, and what helps.

    A copy is measured, trained for a few real steps on batches drawn from the samples, and measured
    again, up to three times for as long as the verdict is undecided. Where that does not end well,
    a norm after each hidden layer, Kaiming's initialization, shortcuts around the layers that keep
    their shape and other learning rates are each tried on a copy of their own, and recommended only
    if the verdict then is "will learn". "Will learn" means: within some ten times `steps`. How the
    verdict is decided, and how often it was right: docs/doctor.md.

    The net, its gradients, buffers and modes and the state of the random numbers stay as they are;
    the same call gives the same diagnosis. The copies are in training mode.

    Args:
        net: any module, as it is before the training.
        loss: called as loss(output of the net, targets); returns a scalar tensor.
        inputs: samples, a few batches if possible: a tensor, a tuple of arguments or a dict of
            named ones, in the dtypes and on the device that the net takes. uint8 images are scaled
            to 0 .. 1.
        targets: passed to the loss; tensors in it have one entry a sample.
        lr: the learning rate.
        optimizer: "sgd" (plain), "adam", "adamw", or a function optimizer(weights, lr=...), such as
            `functools.partial(torch.optim.SGD, momentum=0.9)`.
        steps: how many steps there are between two measurements.
        batch_size: samples a step.
        batch_dim: the dimension of the inputs that counts the samples.
        remedies: whether to try remedies.

    Returns:
        The diagnosis; `print` shows it, its `rows` are the table by layer.

    Raises:
        ValueError: fewer than two samples, an lr that is not above 0, steps or batch_size below 1,
            an unknown optimizer.
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
        ('will not learn', 'the signal vanishes')
        >>> found.recommended[0].change
        'Kaiming initialization of 21 layers'
    """
    setup = TrainingSetup(
        loss=loss,
        inputs=scale_images(detach(inputs)),
        targets=detach(targets),
        make_optimizer=_make_optimizer(optimizer),
        lr=lr,
        steps=steps,
        batch_size=batch_size,
        batch_dim=batch_dim,
    )
    _check(setup)
    with inspect(net, seed=0) as inspected:
        try:
            training = train_briefly(inspected, setup, max_rounds=ROUNDS, in_float64=True)
        except (IndexError, RuntimeError, ValueError) as error:
            if _has_one_logit(inspected.net, setup):
                raise ValueError(f"the net answers with one logit a sample; {ONE_LOGIT}") from error
            raise
    n, before, after = training.numbers, training.before, training.after
    verdict, sure = decide_verdict(n)
    if verdict == WILL_LEARN:
        cause, layer, why = None, None, describe_losses(n)
    else:
        cause, layer, why = find_cause(verdict, n, before, after)
    tried, notes = [], []
    if remedies and verdict != WILL_LEARN and cause != NOTHING:
        too_fast = verdict == WILL_DIVERGE or cause == TOO_HIGH
        tried, notes = _try_remedies(net, setup, too_fast)
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
    )


def _has_one_logit(net: nn.Module, setup: TrainingSetup) -> bool:
    """Return True for a net that answers class numbers with (N) or (N, 1)."""
    if not isinstance(setup.targets, torch.Tensor) or setup.targets.is_floating_point():
        return False
    with torch.no_grad():
        output = call(net, setup.subset().inputs)
    return isinstance(output, torch.Tensor) and output.shape[1:] in ((), (1,))


def _try_remedies(
    net: nn.Module, setup: TrainingSetup, too_fast: bool
) -> tuple[list[Remedy], list[str]]:
    """Try single changes, and pairs of them until one helps where no single one does.

    Returns:
        The remedies, best first, and notes on those that could not be tried.
    """
    lr = setup.lr
    rates = [lr / 10] if too_fast else [lr / 10, lr * 10]
    single: list[tuple[Change | None, float]] = [
        *((change, lr) for change in (add_norms, kaiming, add_shortcuts)),
        *((None, rate) for rate in rates),
    ]
    pairs = [(norms_and_kaiming, lr), (add_norms, lr / 10), (kaiming, lr / 10), (None, lr / 100)]
    outcomes = [_try_remedy(net, setup, change, rate) for change, rate in single]
    for change, rate in pairs:
        if not any(isinstance(outcome, Remedy) and outcome.worked for outcome in outcomes):
            outcomes.append(_try_remedy(net, setup, change, rate))
    tried = [outcome for outcome in outcomes if isinstance(outcome, Remedy)]
    return sorted(tried, key=_rank), [outcome for outcome in outcomes if isinstance(outcome, str)]


def _try_remedy(
    net: nn.Module, setup: TrainingSetup, change: Change | None, lr: float
) -> Remedy | str | None:
    """Train a modified copy; return the remedy, a note on failure, or None if nothing changes."""
    setup, changes = replace(setup, lr=lr), [] if lr == setup.lr else [f"learning rate {lr:g}"]
    try:
        with inspect(net, seed=0) as modified:
            if change is not None:
                done = _apply(change, modified, setup)
                if done is None:
                    return None
                changes = [done, *changes]
            training = train_briefly(modified, setup, max_rounds=1, in_float64=False)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return f"Could not try {getattr(change, '__name__', 'the change')}: {reason}"
    n = training.numbers
    verdict, _ = decide_verdict(n)
    steps = len(training.losses)
    return Remedy(" and ".join(changes), verdict, verdict == WILL_LEARN, n, steps)


def _apply(change: Change, modified: Inspected, setup: TrainingSetup) -> str | None:
    """Change a copy of the net; return a description, or None where no layer can be changed."""
    if not modified.is_copy:
        return None
    with inspect(modified.net, seed=0) as other:
        hidden = hidden_layers(other.net, setup.subset().inputs)
    return change(modified.net, hidden)


def _rank(remedy: Remedy) -> tuple[bool, float]:
    after = remedy.numbers.loss_after
    return not remedy.worked, math.inf if after is None or math.isnan(after) else after


def _make_optimizer(optimizer: str | MakeOptimizer) -> MakeOptimizer:
    if callable(optimizer):
        return optimizer
    if optimizer not in OPTIMIZERS:
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
