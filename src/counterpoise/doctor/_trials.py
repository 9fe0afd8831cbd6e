"""Try changes of a net, its samples and its learning rate on copies."""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from counterpoise.doctor import _symptoms
from counterpoise.doctor._causes import (
    BOTH,
    EXPLODES,
    GRADIENT,
    TOO_HIGH,
    TOO_LOW,
    UNITS,
    VANISHES,
)
from counterpoise.doctor._diagnosis import Remedy
from counterpoise.doctor._examine_samples import floats
from counterpoise.doctor._remedies import (
    Change,
    add_norms,
    add_shortcuts,
    batch_norm_in_training,
    hidden_layers,
    kaiming,
    no_dropout,
    norms_and_kaiming,
    unfrozen,
    without_last_activation,
    without_last_softmax,
)
from counterpoise.doctor._setup import TrainingSetup
from counterpoise.doctor._short_training import ShortTraining, as_trained, train_briefly
from counterpoise.doctor._verdict import WILL_LEARN, WILL_NOT_LEARN, decide_verdict
from counterpoise.probe.inspection import Inspected, inspect
from counterpoise.probe.nested import map_tensors

NOT_FINITE = (_symptoms.NOT_FINITE, _symptoms.TARGET_NOT_FINITE)
ROUNDS = 5  # of steps, for each change
SECONDS = 30.0  # after which no further change is tried
SECONDS_EACH = 5.0  # after which no further round begins


def try_remedies(
    net: nn.Module, setup: TrainingSetup, causes: Sequence[str]
) -> tuple[list[Remedy], list[str]]:
    """Try single changes, and pairs of them until one helps where no single one does.

    Returns:
        The remedies, and notes on those that could not be tried.
    """
    end = time.monotonic() + SECONDS
    outcomes: list[Remedy | str | None] = []
    seen: set[tuple[str, Change | None]] = set()
    for more in _trials(setup, causes):
        if any(isinstance(o, Remedy) and o.worked for o in outcomes):
            break
        for cause, name, change, other in more:
            if change is not None and (name, change) in seen:
                continue
            seen.add((name, change))
            if time.monotonic() < end:
                outcomes.append(_try_remedy(net, other, cause, name, change))
    tried = [outcome for outcome in outcomes if isinstance(outcome, Remedy)]
    return tried, list(dict.fromkeys(o for o in outcomes if isinstance(o, str)))


Trial = tuple[str, str, Change | None, TrainingSetup]  # cause, name of a change of the setup


def _trials(setup: TrainingSetup, causes: Sequence[str]) -> list[list[Trial]]:
    """Return what is tried for some causes and always, and what if none of that helps."""
    s = _symptoms
    fits: list[Trial] = [
        *((c, "without the samples that are not finite", None, _finite(setup)) for c in NOT_FINITE),
        (s.SCALE, "standardized inputs", None, _standardized(setup)),
        (s.TARGET_SCALE, "standardized targets", None, _standardized_targets(setup)),
        (s.OUTSIDE, "", without_last_activation, setup),
        (s.SYMMETRIC, "", kaiming, setup),
        (s.NO_GRADIENT, "", unfrozen, setup),
        (s.FOREIGN, "", batch_norm_in_training, setup),
        (s.DROPPED, "", no_dropout, setup),
        (s.DECAY, "no weight decay", None, replace(setup, decay=False)),
        (s.TWICE, "", without_last_softmax, setup),
        (s.UNHELD, "an optimizer of all parameters", None, _of_all(setup)),
        (s.BROADCAST, "targets in the shape of the outputs", None, _reshaped(setup)),
        (s.WRONG_SIGN, "the loss with the other sign", None, _negated(setup)),
    ]
    first = [one for one in fits if one[0] in causes]
    plain = {s.ALL_EQUAL, s.ONE_TARGET, s.CONSTANT, s.MIXED}
    if plain & set(causes):
        return [first]

    def rate(factor: float) -> Trial:
        cause = TOO_HIGH if factor < 1 else TOO_LOW
        return cause, _rate_name(setup, factor), None, replace(setup, rate=setup.rate * factor)

    shown = [c for c in (UNITS, EXPLODES, BOTH, VANISHES, GRADIENT) if c in causes]
    kind = next(iter(shown), VANISHES)  # what norms, initialization and shortcuts would mend
    build: list[Trial] = [
        (kind, "", change, setup) for change in (add_norms, kaiming, add_shortcuts)
    ]
    standard: Trial = (s.SCALE, "standardized inputs", None, _standardized(setup))
    scaled = [] if any(one[0] == s.SCALE for one in first) else [standard]
    low = replace(setup, rate=setup.rate / 10)
    pairs: list[Trial] = [
        (kind, "", norms_and_kaiming, setup),
        (TOO_HIGH, _rate_name(setup, 0.1), add_norms, low),
        (TOO_HIGH, _rate_name(setup, 0.1), kaiming, low),
    ]
    return [
        [*first, *build, rate(0.1), rate(10.0)],
        [rate(0.01), rate(100.0), rate(1000.0)],
        [*pairs, *scaled],
    ]


def _rate_name(setup: TrainingSetup, factor: float) -> str:
    rates = {float(g["lr"]) for one, _ in setup.given for g in one.param_groups} or {setup.lr}
    if len(rates) == 1:
        return f"learning rate {next(iter(rates)) * setup.rate * factor:g}"
    return f"{factor:g} times the learning rates"


def _finite(setup: TrainingSetup) -> TrainingSetup:
    good = torch.ones(setup.samples, dtype=torch.bool)
    for values in (setup.inputs, setup.targets):
        for t in floats(values):
            if t.shape[0] == setup.samples:
                good &= t.reshape(setup.samples, -1).isfinite().all(1).cpu()
    if int(good.sum()) < 2:
        return setup
    inputs, targets = setup.select(good.nonzero()[:, 0])
    return replace(setup, inputs=inputs, targets=targets)


def _standardized(setup: TrainingSetup) -> TrainingSetup:
    """Return a setup whose inputs have mean 0 and standard deviation 1: columns, or channels."""

    def standardize(t: Tensor) -> Tensor:
        if not t.is_floating_point() or t.dim() < 2:
            return t
        dims = [d for d in range(t.dim()) if d != (t.dim() - 1 if t.dim() < 4 else 1)]
        std = t.std(dims, keepdim=True)
        return (t - t.mean(dims, keepdim=True)) / torch.where(std > 0, std, 1.0)

    return replace(setup, inputs=map_tensors(setup.inputs, standardize))


def _standardized_targets(setup: TrainingSetup) -> TrainingSetup:
    def standardize(t: Tensor) -> Tensor:
        return (t - t.mean()) / t.std() if t.is_floating_point() and t.numel() > 1 else t

    return replace(setup, targets=map_tensors(setup.targets, standardize))


def _of_all(setup: TrainingSetup) -> TrainingSetup:
    kind = type(setup.given[0][0]) if setup.given else torch.optim.SGD
    return replace(setup, given=(), make_optimizer=kind)


def _reshaped(setup: TrainingSetup) -> TrainingSetup:
    loss = setup.loss
    return replace(setup, loss=lambda output, t: loss(output, t.reshape(output.shape)))


def _negated(setup: TrainingSetup) -> TrainingSetup:
    loss = setup.loss
    return replace(setup, loss=lambda output, targets: -loss(output, targets))


def _try_remedy(
    net: nn.Module, setup: TrainingSetup, cause: str, name: str, change: Change | None
) -> Remedy | str | None:
    """Train a modified copy; return the remedy, a note on failure, or None if nothing changes."""
    changes = [name] if name else []
    try:
        with inspect(net, seed=0) as modified:
            modes = {key: module.training for key, module in net.named_modules()}
            as_trained(modified.net, modes)
            if change is not None:
                done = _apply(change, modified, setup)
                if done is None:
                    return None
                changes = [done, *changes]
            training = train_briefly(
                modified, setup, max_rounds=ROUNDS, in_float64=False, seconds=SECONDS_EACH
            )
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return f"Could not try {getattr(change, '__name__', name or 'the change')}: {reason}"
    return _outcome(" and ".join(changes), training, cause)


def _outcome(change: str, training: ShortTraining, cause: str) -> Remedy:
    n = training.numbers
    verdict, _ = decide_verdict(n)
    gained = n.held_out_improvement is None or n.held_out_improvement > 0
    worked = verdict == WILL_LEARN and gained
    if verdict == WILL_LEARN and not worked:
        verdict = WILL_NOT_LEARN
    return Remedy(change, verdict, worked, n, len(training.losses), cause)


def _apply(change: Change, modified: Inspected, setup: TrainingSetup) -> str | None:
    """Change a copy of the net; return a description, or None where no layer can be changed."""
    if not modified.is_copy:
        return None
    with inspect(modified.net, seed=0) as other:
        hidden = hidden_layers(other.net, setup.subset().inputs)
    return change(modified.net, hidden)
