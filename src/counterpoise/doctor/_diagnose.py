"""Examine a net, and try what could help."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from counterpoise.doctor._diagnosis import (
    DIVERGES,
    LEARNS,
    Diagnosis,
    Remedy,
    numbers,
)
from counterpoise.doctor._judge import NOTHING, TOO_HIGH, blame, is_open, judge, losses
from counterpoise.doctor._look import Case
from counterpoise.doctor._remedies import Place, add_norms, add_shortcuts, kaiming, places
from counterpoise.doctor._trial import Rounds, Trial, run_trial
from counterpoise.probe import Loss
from counterpoise.probe._bench import Bench, as_floats, bench, count_samples, detached

MakeOptimizer = Callable[..., torch.optim.Optimizer]
ROUNDS = 3  # of steps, for the net as it is; a remedy has to show within one

Change = Callable[[nn.Module, list[Place]], str | None]

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def diagnose(
    net: nn.Module,
    loss: Loss,
    inputs: Any,
    targets: Any,
    *,
    lr: float,
    optimizer: str | MakeOptimizer = "sgd",
    steps: int = 40,
    batch_size: int = 32,
    batch_dim: int = 0,
    remedies: bool = True,
) -> Diagnosis:
    """Say whether a net will learn, and if not, where it breaks, why, and what helps.

    On a copy it looks at the net, takes a few real steps on batches drawn from the samples, and
    looks again, up to three times for as long as it is not clear. Where that does not end well, a
    norm after each hidden layer, Kaiming's initialization, shortcuts around the layers that keep
    their shape and other learning rates are each tried on a copy of their own, and recommended only
    if the verdict then is "will learn". "Will learn" means: within some ten times `steps`. How it
    decides, and how often it was right, docs/doctor.md tells.

    The net, its gradients, buffers and modes and the state of the random numbers stay as they are;
    the same call gives the same answer. The copies are in training mode.

    Args:
        net: any module, as it is before the training.
        loss: called as loss(what the net returns, targets), returns a number.
        inputs: samples, a few batches if possible: a tensor, a tuple of arguments or a dict of
            named ones. uint8 images are scaled to 0 .. 1.
        targets: what the loss takes.
        lr: the learning rate.
        optimizer: "sgd" (plain), "adam", "adamw", or a function optimizer(weights, lr=...), such as
            `functools.partial(torch.optim.SGD, momentum=0.9)`.
        steps: how many steps between two looks.
        batch_size: samples a step.
        batch_dim: the dimension of the inputs that counts the samples.
        remedies: whether to try what could help.

    Returns:
        The diagnosis; `print` shows it, its `rows` are the table by layer.

    Raises:
        ValueError: fewer than two samples, an lr that is not above 0, steps or batch_size below 1,
            an unknown optimizer.

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
    samples = count_samples(inputs, batch_dim)
    _check(samples, lr, optimizer, steps, batch_size)
    make = optimizer if callable(optimizer) else OPTIMIZERS[optimizer]
    first = Case(
        loss,
        as_floats(detached(inputs)),
        detached(targets),
        partial(make, lr=lr),
        batch_dim,
        samples,
    )
    experiment = _Experiment(net, first, make, lr, steps, min(batch_size, samples))
    trial = experiment.try_on_copy(None, lr)[0]
    n = numbers(trial)
    verdict, sure = judge(n)
    cause, place, why = (None, None, losses(n)) if verdict == LEARNS else blame(verdict, n, trial)
    failing = remedies and verdict != LEARNS and cause != NOTHING
    tried, notes = _try_all(experiment, verdict, cause) if failing else ([], [])
    if not net.training:
        notes.append("The net is in evaluation mode; this is about training mode.")
    rows_after = trial.after.rows if trial.after else ()
    return Diagnosis(
        verdict=verdict,
        sure=sure,
        cause=cause,
        place=place,
        why=why,
        numbers=n,
        remedies=tuple(tried),
        rows=trial.before.rows,
        rows_after=rows_after,
        steps=len(trial.losses),
        notes=(*(f"{note[0].upper()}{note[1:]}." for note in trial.notes), *notes),
    )


@dataclass(frozen=True)
class _Experiment:
    net: nn.Module
    case: Case
    make: MakeOptimizer
    lr: float
    steps: int
    batch_size: int

    def try_on_copy(self, change: Change | None, lr: float) -> tuple[Trial, str]:
        """Try a changed copy: what became of it, and what was changed.

        Raises:
            _NotFeasible: the net has no place for the change, or cannot be copied.
            Exception: whatever the changed copy raises.
        """
        case = dataclasses.replace(self.case, make_optimizer=partial(self.make, lr=lr))
        with bench(self.net, seed=0) as place:
            words = [_changed(place, change, case)] if change else []
            if lr != self.lr:
                words.append(f"learning rate {lr:g}")
            most = 1 if words else ROUNDS
            rounds = Rounds(self.steps, most, lambda trial: is_open(numbers(trial)), not words)
            return run_trial(place, case, self.batch_size, rounds), " and ".join(words)


class _NotFeasible(Exception):
    pass


def _changed(place: Bench, change: Change, case: Case) -> str:
    if not place.copied:
        raise _NotFeasible
    with bench(place.net, seed=0) as other:
        found = places(other.net, case.spread().inputs)
    done = change(place.net, found)
    if done is None:
        raise _NotFeasible
    return done


def _try_all(
    experiment: _Experiment, verdict: str, cause: str | None
) -> tuple[list[Remedy], list[str]]:
    """Try single changes, and pairs of them until one helps where no single one does."""
    slower, faster = experiment.lr / 10, experiment.lr * 10
    too_fast = verdict == DIVERGES or cause == TOO_HIGH
    tried, notes = [], []
    for change, lr in [
        *((change, experiment.lr) for change in (add_norms, kaiming, add_shortcuts)),
        *((None, rate) for rate in ([slower] if too_fast else [slower, faster])),
    ]:
        _try(experiment, change, lr, tried, notes)
    for change, lr in [
        (_norms_and_kaiming, experiment.lr),
        (add_norms, slower),
        (kaiming, slower),
        (None, slower / 10),
    ]:
        if not any(remedy.worked for remedy in tried):
            _try(experiment, change, lr, tried, notes)
    return sorted(tried, key=_rank), notes


def _try(
    experiment: _Experiment, change: Change | None, lr: float, tried: list[Remedy], notes: list[str]
) -> None:
    """Try one change, and add what became of it to `tried` or why it could not be to `notes`."""
    try:
        trial, words = experiment.try_on_copy(change, lr)
    except _NotFeasible:
        return
    except (RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        notes.append(f"Could not try {getattr(change, '__name__', 'the change')}: {reason}")
        return
    n = numbers(trial)
    verdict = judge(n)[0]
    tried.append(Remedy(words, verdict, verdict == LEARNS, n, len(trial.losses)))


def _norms_and_kaiming(net: nn.Module, found: list[Place]) -> str | None:
    first, second = kaiming(net, found), add_norms(net, found)
    return f"{second} and {first}" if first and second else None


def _rank(remedy: Remedy) -> tuple[bool, float]:
    after = remedy.numbers.loss_after
    return not remedy.worked, math.inf if after is None or math.isnan(after) else after


def _check(
    samples: int, lr: float, optimizer: str | MakeOptimizer, steps: int, batch_size: int
) -> None:
    if samples < 2:
        raise ValueError(
            f"diagnose compares samples and needs two at least, but got {samples}; pass a few "
            "batches, and batch_dim if the samples do not lie along the first dimension"
        )
    if not 0 < lr < math.inf or steps < 1 or batch_size < 1:
        raise ValueError(
            "diagnose needs an lr above 0, and steps and batch_size of at least 1, but got "
            f"{lr}, {steps} and {batch_size}"
        )
    if not callable(optimizer) and optimizer not in OPTIMIZERS:
        raise ValueError(
            f"optimizer must be one of {sorted(OPTIMIZERS)} or a function of weights and learning "
            f"rate, but got {optimizer!r}"
        )
