"""Examine the layers of a net, and the parameters that an optimizer holds."""

import math
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from counterpoise.doctor._examine_samples import floats
from counterpoise.doctor._remedies import Weighted
from counterpoise.doctor._setup import TrainingSetup, answer, parameters_held
from counterpoise.doctor._symptoms import (
    DECAY,
    DROPPED,
    FOREIGN,
    MIXED,
    NO_GRADIENT,
    NOT_A_NUMBER,
    SYMMETRIC,
    UNHELD,
    Symptom,
)
from counterpoise.probe.nested import sample_dim

DROP = 0.9  # of a dropout layer, from which on little is left
SHIFT = 3.0  # standard deviations between the statistics of batch norm and those of the batch
PULL = 1.0  # weight decay times weight, over the gradient of the loss


def unheld(net: nn.Module, setup: TrainingSetup) -> Iterator[Symptom]:
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    held = parameters_held(setup.optimizers(net))
    left = [name for name, p in trained.items() if id(p) not in held]
    if left:
        all_of = len(left) == len(trained)
        names = ", ".join(left[:3]) + (", .." if left[3:] else "")
        why = f"{len(left)} of {len(trained)} parameters that need a gradient are in none: {names}."
        yield Symptom(UNHELD, why, left[0].rpartition(".")[0] or None, weak=not all_of)


def without_gradient(net: nn.Module, setup: TrainingSetup) -> Iterator[Symptom]:
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if not trained:
        why = "All parameters are frozen (requires_grad is False), or there are none."
        yield Symptom(NO_GRADIENT, why)
        return
    with torch.random.fork_rng(devices=[]):
        value = setup.loss(answer(net, setup.inputs), setup.targets)
    if not value.requires_grad:
        why = (
            "The loss has no graph: an output was detached, rounded, or taken by argmax or .item()."
        )
        yield Symptom(NO_GRADIENT, why)
        return
    grads = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
    cut = [name for (name, _), g in zip(trained.items(), grads, strict=True) if g is None]
    if cut:
        names = ", ".join(cut[:3]) + (", .." if cut[3:] else "")
        why = f"{len(cut)} of {len(trained)} parameters are outside the graph of the loss: {names}."
        some = len(cut) < len(trained)
        yield Symptom(NO_GRADIENT, why, cut[-1].rpartition(".")[0] or None, weak=some)


def not_a_number(net: nn.Module, setup: TrainingSetup) -> Iterator[Symptom]:
    """The first layer whose output is not finite, where its inputs are."""
    if any(not t.isfinite().all() for t in floats(setup.inputs)):
        return
    first: list[str] = []

    def hook_of(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_: nn.Module, args: object, output: object) -> None:
            with torch.no_grad():
                bad = any(not t.isfinite().all() for t in floats(output))
                if bad and not first and all(t.isfinite().all() for t in floats(args)):
                    first.append(name)

        return hook

    handles = [m.register_forward_hook(hook_of(name)) for name, m in net.named_modules()]
    try:
        with torch.random.fork_rng(devices=[]):
            value = setup.loss(answer(net, setup.inputs), setup.targets)
    finally:
        for handle in handles:
            handle.remove()
    if first:
        inner = first[0]
        why = f"The output of {inner or 'the net'} is not finite in the first forward pass."
        yield Symptom(NOT_A_NUMBER, why, inner or None)
        return
    if not math.isfinite(value.item()):
        yield Symptom(NOT_A_NUMBER, "The loss of finite outputs is not finite before any step.")
        return
    if not value.requires_grad:
        return
    named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    grads = torch.autograd.grad(value, [p for _, p in named], allow_unused=True)
    bad = [
        name
        for (name, _), g in zip(named, grads, strict=True)
        if g is not None and not g.isfinite().all()
    ]
    if bad:
        layer = bad[-1].rpartition(".")[0]
        why = f"The gradient of {len(bad)} parameters is not finite in the first backward pass."
        yield Symptom(NOT_A_NUMBER, why, layer or None)


def foreign_statistics(net: nn.Module, setup: TrainingSetup) -> Iterator[Symptom]:
    """Batch norm that stays in evaluation mode, far from the statistics of these samples."""
    seen: list[tuple[str, float]] = []

    def hook_of(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def hook(module: nn.Module, args: tuple[object, ...]) -> None:
            x = args[0] if args else None
            norm = cast(nn.modules.batchnorm._BatchNorm, module)
            if module.training or not isinstance(x, Tensor) or norm.running_mean is None:
                return
            dims = [d for d in range(x.dim()) if d != 1]
            std = x.std(dims).clamp(min=1e-6)
            off = ((x.mean(dims) - norm.running_mean) / std).abs().median().item()
            spread = (
                norm.running_var.clamp(min=1e-12).sqrt() if norm.running_var is not None else std
            )
            ratio = (spread / std).log().abs().median().exp().item()
            if off > SHIFT or ratio > 10 * SHIFT:
                seen.append((name, max(off, ratio)))

        return hook

    handles = [
        m.register_forward_pre_hook(hook_of(name))
        for name, m in net.named_modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    try:
        with torch.no_grad():
            answer(net, setup.inputs)
    finally:
        for handle in handles:
            handle.remove()
    if seen:
        name, off = seen[0]
        why = (
            f"The running statistics of {len(seen)} batch norms are off those of these samples, in "
            f"{name} by {off:.2g} standard deviations."
        )
        yield Symptom(FOREIGN, why, name)


def mixed_samples(net: nn.Module, setup: TrainingSetup) -> Iterator[Symptom]:
    """An output that depends on other samples, in evaluation mode."""
    if setup.whole or setup.samples < 4:
        return
    index = torch.arange(setup.samples)
    index[1::2] = 1  # half of them are replaced, and the outputs of the others compared
    other = setup.select(index)[0]
    modes = [(m, m.training) for m in net.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            net.eval()
            torch.manual_seed(0)
            one = answer(net, setup.inputs)
            torch.manual_seed(0)
            two = answer(net, other)
    finally:
        for module, mode in modes:
            module.training = mode
    for a, b in zip(floats(one), floats(two), strict=True):
        if a.shape != b.shape or setup.samples not in a.shape:
            continue
        dim = sample_dim(a, setup.batch_dim, setup.samples)
        change = (a - b).abs().index_select(dim, torch.arange(0, setup.samples, 2)).max().item()
        change /= max(a.std().item(), 1e-12)
        if change > 1e-2:
            why = (
                "The output of a sample changes with the other samples: a reshape, a view or "
                "a softmax runs over the batch."
            )
            yield Symptom(MIXED, why)
            return


def dropped(net: nn.Module, _: TrainingSetup) -> Iterator[Symptom]:
    for name, module in net.named_modules():
        if (
            isinstance(module, nn.modules.dropout._DropoutNd)
            and module.training
            and module.p >= DROP
        ):
            yield Symptom(DROPPED, f"It drops {module.p:.0%} of its inputs.", name)
            return


def units_alike(net: nn.Module, _: TrainingSetup) -> Iterator[Symptom]:
    """Hidden layers whose units have all the same weights, so that they stay alike."""
    layers = [(n, m) for n, m in net.named_modules() if isinstance(m, Weighted)]
    for name, layer in layers[:-1]:
        w = layer.weight.detach()
        if w.shape[0] > 1 and bool((w == w[:1]).all()):
            why = f"All {w.shape[0]} units have the same weights, and get the same gradient."
            yield Symptom(SYMMETRIC, why, name)
            return


def pulled_by_decay(net: nn.Module, setup: TrainingSetup) -> Iterator[Symptom]:
    """Weight decay that pulls harder than the loss, where lr · decay moves a weight visibly."""
    names = {id(p): name for name, p in net.named_parameters() if p.requires_grad}
    with torch.random.fork_rng(devices=[]):
        value = setup.loss(answer(net, setup.inputs), setup.targets)
    if not value.requires_grad:
        return
    params = [p for p in net.parameters() if p.requires_grad]
    grads = dict(
        zip(map(id, params), torch.autograd.grad(value, params, allow_unused=True), strict=True)
    )
    for optimizer in setup.optimizers(net):
        for group in optimizer.param_groups:
            decay, lr = group.get("weight_decay", 0.0), float(group.get("lr", 0.0))
            for p in group["params"] if decay and lr * decay * setup.steps > 0.5 else ():
                g = grads.get(id(p))
                if p.dim() < 2 or g is None:
                    continue
                pull, loss = decay * p.norm().item(), g.norm().item()
                if pull > PULL * loss:
                    name = names.get(id(p), "")
                    why = (
                        f"It pulls at {name} with {pull:.2g}, and the loss with {loss:.2g}; in "
                        f"{setup.steps} steps it alone takes the weights to "
                        f"{math.exp(-lr * decay * setup.steps):.2g} of their size."
                    )
                    yield Symptom(DECAY, why, name.rpartition(".")[0] or None)
                    return


LOOKS = (unheld, without_gradient, foreign_statistics, mixed_samples, dropped, units_alike)
