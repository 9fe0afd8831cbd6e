"""Other normalization layers for any net, with the learned parameters of the old ones."""

import copy
import dis
import fnmatch
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Literal, overload

import torch
from torch import nn

from counterpoise.norms._one_pixel import one_pixel
from counterpoise.norms._successor import Stays, already, is_norm, note, successor, title
from counterpoise.norms._swap_table import Change, SwapTable
from counterpoise.text import one_line

WORDS = ("batch", "group", "layer", "layer2d", "instance", "rms")


@overload
def swap_norm(
    net: nn.Module,
    to: str = "group",
    *,
    only: str | Callable[[str], bool] = "*",
    max_groups: int = 32,
    dims: int = 2,
    example: torch.Tensor | None = None,
    inplace: bool = False,
    return_table: Literal[False] = False,
) -> nn.Module: ...
@overload
def swap_norm(
    net: nn.Module,
    to: str = "group",
    *,
    only: str | Callable[[str], bool] = "*",
    max_groups: int = 32,
    dims: int = 2,
    example: torch.Tensor | None = None,
    inplace: bool = False,
    return_table: Literal[True],
) -> tuple[nn.Module, SwapTable]: ...
def swap_norm(
    net: nn.Module,
    to: str = "group",
    *,
    only: str | Callable[[str], bool] = "*",
    max_groups: int = 32,
    dims: int = 2,
    example: torch.Tensor | None = None,
    inplace: bool = False,
    return_table: bool = False,
) -> nn.Module | tuple[nn.Module, SwapTable]:
    """Return a net with another normalization in the place of its own.

    The net that is returned is a copy, to be kept: `net = swap_norm(net)`. Weight and bias are
    carried over, in place as the very Parameters, which an optimizer keeps hold of; tied ones stay
    tied. So are eps, dtype, device, training mode and hooks; where a layer is used in several
    places, its successor is too. torch's own layers of the kind asked for become this
    package's, which compute the same. A layer that cannot be swapped is left, and the table says
    why. Running statistics have no place in a norm that measures its statistics on every input: the
    net computes something else afterwards, and wants some further training. A layer swapped back to
    what it was has its class, momentum and groups again.

    Args:
        net: any module; itself a normalization layer, it is swapped as a whole.
        to: "group"; "layer" (over channels and pixels: group normalization of one group, which
            needs no image size); "layer2d" (over the channels of each pixel); "instance" (but
            for layers that get one pixel a channel, which would always be 0: see `example`); "rms"
            (for LayerNorms); "batch" (running statistics start anew).
        only: which paths, as `net.named_modules()` names them: a pattern such as "layer4.*" or a
            function of the path.
        max_groups: groups at most; the number taken is the largest divisor of the channels up to it
            that leaves two channels a group, as a group of one element would always be 0. For
            vectors (BatchNorm1d) 16 channels: a group of two would pass on their order alone.
        dims: of the BatchNorm (1, 2 or 3) for layers that do not say what they are made for.
        example: an input of the net, which is run on it once, in eval mode and for "instance" only,
            to see which layers get one pixel a channel. Without it these are the layers behind a
            global pooling, as far as the order of the modules tells; behind a pooling that is no
            module, such as `x.mean((2, 3))`, it tells nothing, and the new layer raises when it is
            called.
        inplace: change `net` itself and return it.
        return_table: return the net and the `SwapTable` of what was changed.

    Returns:
        The net with the new layers; with `return_table` the table, too. `swap_table` returns the
        table alone, and changes nothing.

    Raises:
        ValueError: an unknown word, max_groups below 1, dims not 1, 2 or 3, a net that is wrapped
            in DistributedDataParallel already, one that cannot be copied, or a normalization layer
            by itself in place.
        TypeError: a net that is no module, `only` neither a pattern nor a function, a max_groups
            that is no whole number, or an example that is no tensor.

    Warns:
        UserWarning: the copy is dropped where it was made, as by `swap_norm(net)` on a line of its
            own, which leaves `net` as it is.

    Example:
        >>> from torch import nn
        >>> from counterpoise.norms import swap_norm
        >>> net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU())
        >>> net, table = swap_norm(net, to="group", return_table=True)
        >>> type(net[1]).__name__
        'GroupNorm'
        >>> print(table)
        layer  was              now                note
        1      BatchNorm2d(64)  GroupNorm(32, 64)  running statistics dropped
    """
    _check(net, to, only, max_groups, dims, example)
    net = net if inplace else _copied(net)
    changes, successors = _find(net, to, only, max_groups, dims, example)
    if inplace and "" in successors:
        raise ValueError(
            "a normalization layer cannot be swapped in itself, but the net is one: write "
            "norm = swap_norm(norm)"
        )
    for path, new in successors.items():
        net = _put(net, path, new)
    if not inplace and _is_dropped(sys._getframe(1)):
        warnings.warn(
            "swap_norm returns a copy, which is dropped here, and leaves the net as it is: write "
            "net = swap_norm(net, ...), or give inplace=True",
            stacklevel=2,
        )
    return (net, SwapTable(changes)) if return_table else net


def swap_table(
    net: nn.Module,
    to: str = "group",
    *,
    only: str | Callable[[str], bool] = "*",
    max_groups: int = 32,
    dims: int = 2,
    example: torch.Tensor | None = None,
) -> SwapTable:
    """Return the table of what `swap_norm` would change; the net stays as it is.

    Arguments and errors: those of `swap_norm`.

    Example:
        >>> from torch import nn
        >>> from counterpoise.norms import swap_table
        >>> print(swap_table(nn.Sequential(nn.BatchNorm2d(64))))
        layer  was              now                note
        0      BatchNorm2d(64)  GroupNorm(32, 64)  running statistics dropped
    """
    _check(net, to, only, max_groups, dims, example)
    return SwapTable(_find(net, to, only, max_groups, dims, example)[0])


def _find(
    net: nn.Module,
    to: str,
    only: str | Callable[[str], bool],
    max_groups: int,
    dims: int,
    example: torch.Tensor | None,
) -> tuple[tuple[Change, ...], dict[str, nn.Module]]:
    """Return a row for every norm, and the successors of those to be swapped by their path."""
    wanted = only if callable(only) else lambda path: fnmatch.fnmatchcase(path, only)
    behind = one_pixel(net, example) if to == "instance" else set()
    made: dict[nn.Module, nn.Module] = {}
    changes, successors = [], {}
    for path, old in net.named_modules(remove_duplicate=False):
        if not is_norm(old):
            continue
        was = title(old)
        try:
            if not wanted(path):
                raise Stays("not asked for")
            if old in behind and not already(old, to):
                raise Stays("gets one pixel a channel, which would always be 0")
            if old not in made:
                made[old] = successor(old, to, max_groups, dims)
            successors[path] = made[old]
            changes.append(Change(path, was, title(made[old]), note(old, to)))
        except Stays as reason:
            changes.append(Change(path, was, was, f"left: {reason}"))
    return tuple(changes), successors


def _is_dropped(caller: FrameType) -> bool:
    """Return True where the result of the call that a frame is in goes nowhere but to a prompt.

    A drop is an instruction of its own, the next after the call; what is not CPython says False.
    """
    steps = dis.get_instructions(caller.f_code)
    after = next((step for step in steps if step.offset > caller.f_lasti), None)
    drops = ("POP_TOP", "PRINT_EXPR", "INTRINSIC_PRINT")
    return after is not None and (after.opname in drops or after.argrepr in drops)


def _check(
    net: object, to: object, only: object, max_groups: object, dims: object, example: object
) -> None:
    if to not in WORDS:
        raise ValueError(f"to must be one of {WORDS}, but got {to!r}")
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch.nn.Module, but got a {type(net).__name__}")
    if any(isinstance(m, nn.parallel.DistributedDataParallel) for m in net.modules()):
        raise ValueError(
            "DistributedDataParallel keeps account of the parameters and buffers it was given, and "
            "has no place for others: swap first, then wrap"
        )
    if not (isinstance(only, str) or callable(only)):
        raise TypeError(
            f'only must be a pattern such as "layer4.*" or a function of the path, but got {only!r}'
        )
    if not isinstance(max_groups, int):
        raise TypeError(f"max_groups must be a whole number, but got {max_groups!r}")
    if max_groups < 1 or dims not in (1, 2, 3):
        raise ValueError(
            f"max_groups must be at least 1 and dims 1, 2 or 3, but got {max_groups} and {dims}"
        )
    if not isinstance(example, torch.Tensor | None):
        raise TypeError(f"example must be a tensor, but got a {type(example).__name__}")


def _copied(net: nn.Module) -> nn.Module:
    if any(map(nn.parameter.is_lazy, (*net.parameters(), *net.buffers()))):
        raise ValueError(
            "a net is copied with its parameters, but lazy layers of this one have none yet: send "
            "a batch through it first, or swap with inplace=True, which leaves those layers"
        )
    try:
        return copy.deepcopy(net)
    except Exception as error:  # whatever a user's attributes raise
        raise ValueError(
            f"swap_norm works on a copy, but this net cannot be copied ({one_line(error)}): "
            "swap_norm(net, inplace=True) changes the net itself"
        ) from error


def _put(net: nn.Module, path: str, new: nn.Module) -> nn.Module:
    if not path:
        return new
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, new)
    return net
