"""Other normalization layers for any net, with the learned parameters of the old ones."""

import copy
import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize

from counterpoise.norms._group import GroupNorm
from counterpoise.norms._instance import InstanceNorm
from counterpoise.norms._layer import LayerNorm
from counterpoise.norms._layer_2d import LayerNorm2d
from counterpoise.norms._one_pixel import one_pixel
from counterpoise.norms._rms import RMSNorm

BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
FROZEN = "FrozenBatchNorm"  # everybody's begin so, and do as they say; weight and bias are buffers
VECTOR = 16  # channels a group of a vector at least: two alone would put out only +1 and -1
WORDS = ("batch", "group", "layer", "layer2d", "instance", "rms")
_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


@dataclass(frozen=True)
class Change:
    """One normalization layer: its name, its old and new kind, and a remark."""

    path: str
    was: str
    now: str
    note: str


@dataclass(frozen=True)
class Swapped:
    """The net with its new layers, and a row for every normalization layer that was found."""

    net: nn.Module
    changes: list[Change] = field(default_factory=list)

    def __str__(self) -> str:
        """The changes as a table."""
        rows = [("layer", "was", "now", "note")]
        rows += [(c.path or "(the net)", c.was, c.now, c.note) for c in self.changes]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in rows]
        return "\n".join(lines)


class _Stays(Exception):
    """Why a layer is left as it is."""


def swap_norm(
    net: nn.Module,
    to: str = "group",
    *,
    only: str | Callable[[str], bool] = "*",
    max_groups: int = 32,
    dims: int = 2,
    example: torch.Tensor | None = None,
    inplace: bool = False,
) -> Swapped:
    """Put another normalization in the place of a net's own.

    Weight and bias are carried over themselves: in place, an optimizer keeps hold of them, and tied
    ones stay tied. So are eps, dtype, device, training mode and hooks; where a layer is used in
    several places, its successor is too. torch's own layers of the kind asked for become this
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
        inplace: change `net` itself and not a copy.

    Returns:
        The net and the table; `print(...)` shows it.

    Raises:
        ValueError: an unknown word, max_groups below 1, dims not 1, 2 or 3, a net that is wrapped
            in DistributedDataParallel already, or one that cannot be copied as its lazy layers have
            no parameters yet.
        TypeError: a net that is no module, `only` neither a pattern nor a function, a max_groups
            that is no whole number, or an example that is no tensor.

    Example:
        >>> from torch import nn
        >>> from counterpoise.norms import swap_norm
        >>> net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU())
        >>> print(swap_norm(net))
        layer  was              now                note
        1      BatchNorm2d(64)  GroupNorm(32, 64)  running statistics dropped
    """
    if to not in WORDS:
        raise ValueError(f"to must be one of {WORDS}, but got {to!r}")
    _check_types(net, only, max_groups, example)
    if max_groups < 1 or dims not in (1, 2, 3):
        raise ValueError(
            f"max_groups must be at least 1 and dims 1, 2 or 3, but got {max_groups} and {dims}"
        )
    net = net if inplace else _copied(net)
    wanted = only if callable(only) else lambda path: fnmatch.fnmatchcase(path, only)
    behind = one_pixel(net, example) if to == "instance" else set()
    made: dict[nn.Module, nn.Module] = {}
    changes = []
    for path, old in list(net.named_modules(remove_duplicate=False)):
        if not _is_norm(old):
            continue
        was, now, note = _title(old), "", ""
        try:
            if not wanted(path):
                raise _Stays("not asked for")
            if old in behind and not _already(old, to):
                raise _Stays("gets one pixel a channel, which would always be 0")
            if old not in made:
                made[old] = _successor(old, to, max_groups, dims)
            net = _put(net, path, made[old])
            now, note = _title(made[old]), _note(old, to)
        except _Stays as reason:
            now, note = was, f"left: {reason}"
        changes.append(Change(path, was, now, note))
    return Swapped(net, changes)


def _check_types(net: object, only: object, max_groups: object, example: object) -> None:
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
    if not isinstance(example, torch.Tensor | None):
        raise TypeError(f"example must be a tensor, but got a {type(example).__name__}")


def _is_norm(module: nn.Module) -> bool:
    known = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # lazy ones too
    return isinstance(module, known) or type(module).__name__.startswith(FROZEN)


def _title(module: nn.Module) -> str:
    if isinstance(module, nn.Sequential):  # a norm with what was built into its predecessor
        return " + ".join(_title(m) for m in module if not isinstance(m, nn.Identity))
    name = type(module).__name__
    if isinstance(module, nn.GroupNorm) and not isinstance(module, InstanceNorm):
        return f"{name}({module.num_groups}, {module.num_channels})"
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return f"{name}({', '.join(map(str, module.normalized_shape))})"
    if not _is_norm(module):
        return name
    return f"{name}({_channels(module)})"


def _copied(net: nn.Module) -> nn.Module:
    if any(map(nn.parameter.is_lazy, (*net.parameters(), *net.buffers()))):
        raise ValueError(
            "a net is copied with its parameters, but lazy layers of this one have none yet: send "
            "a batch through it first, or swap with inplace=True, which leaves those layers"
        )
    return copy.deepcopy(net)


def _note(old: nn.Module, to: str) -> str:
    if to == "batch":
        return "running statistics start anew"
    if to == "layer" and isinstance(old, nn.RMSNorm):
        return "now takes the mean away"
    if getattr(old, "running_mean", None) is not None:
        return "running statistics dropped"
    return ""


def _channels(old: nn.Module) -> int:
    for name in ("num_features", "num_channels"):
        if hasattr(old, name):
            return int(getattr(old, name))
    if isinstance(old, nn.LayerNorm | nn.RMSNorm):
        return int(old.normalized_shape[0])
    return len(torch.as_tensor(old.weight))


def _successor(old: Any, to: str, max_groups: int, dims: int) -> nn.Module:
    """The new layer, or the reason why there is none."""
    if hasattr(old, "has_uninitialized_params") and old.has_uninitialized_params():
        raise _Stays("lazy: send a batch through the net first")
    if getattr(old, "num_features", 1) == 0:
        raise _Stays("lazy, and without parameters never told its channels: set num_features")
    if parametrize.is_parametrized(old):
        raise _Stays("its weight is parametrized: remove the parametrization first")
    for name in ("weight", "bias"):
        held = name in old._parameters or name in old._buffers
        if not held and getattr(old, name, None) is not None:
            raise _Stays(
                f"its {name} is computed by a hook (pruning, weight_norm): make it permanent first"
            )
    if not _does_what_its_class_says(old):
        raise _Stays(f"{type(old).__name__} has a forward of its own")
    if _already(old, to):
        raise _Stays(f"is {to} already")
    tensor = next((t for t in (*old.parameters(False), *old.buffers(False)) if t.dim()), None)
    place: dict[str, Any] = (
        {} if tensor is None else {"device": tensor.device, "dtype": tensor.dtype}
    )
    new: Any = _built(old, to, max_groups, dims, place)
    if past := _past(old):
        new._past = past
    _carry(old, new)
    return _with_what_was_built_in(old, new)


def _does_what_its_class_says(old: nn.Module) -> bool:
    """False for somebody's subclass with another forward, whose meaning we cannot know."""
    if "forward" in vars(old):
        return False
    if type(old).__name__.startswith(FROZEN):
        return True
    home = next(k.__module__ for k in type(old).__mro__ if "forward" in vars(k)).split(".")
    quantized = home[:2] == ["torch", "ao"]
    return home[0] in ("torch", "counterpoise", "timm", "torchvision") and not quantized


def _already(old: nn.Module, to: str) -> bool:
    kinds = {"batch": BATCH, "rms": RMSNorm, "layer2d": LayerNorm2d, "layer": LayerNorm}
    return isinstance(old, kinds.get(to, ())) or (isinstance(old, GroupNorm) and _kind(old) == to)


def _kind(old: nn.GroupNorm) -> str:
    if old.num_groups == 1:
        return "layer"
    return "instance" if old.num_groups == old.num_channels else "group"


def _past(old: nn.Module) -> dict[str, dict[str, Any]]:
    """By kind of norm, the settings that the other kinds lack, for the way back.

    A successor keeps it, so that swapped back it is what it was.
    """
    past = dict(getattr(old, "_past", {}))
    if isinstance(old, BATCH):
        past["batch"] = {
            "kind": next(kind for kind in BATCH if isinstance(old, kind)),
            "momentum": old.momentum,
            "track_running_stats": old.track_running_stats,
        }
    elif isinstance(old, nn.RMSNorm):
        past["rms"] = {"eps": old.eps}
    elif isinstance(old, nn.GroupNorm) and _kind(old) == "group":
        past["group"] = {"num_groups": old.num_groups}
    return past


def _built(old: nn.Module, to: str, max_groups: int, dims: int, place: dict[str, Any]) -> nn.Module:
    past = _past(old)
    affine = getattr(old, "weight", None) is not None
    settings: dict[str, Any] = {"eps": getattr(old, "eps", 1e-5), **place}
    if isinstance(old, nn.LayerNorm | nn.RMSNorm) and "2d" not in type(old).__name__:
        shape = old.normalized_shape
        if to == "layer":
            if old.eps is None:  # torch's rule for an RMSNorm
                wide = torch.promote_types(place.get("dtype", torch.float32), torch.float32)
                settings["eps"] = torch.finfo(wide).eps
            return LayerNorm(list(shape), elementwise_affine=affine, **settings)
        if to == "rms" and getattr(old, "bias", None) is None:
            settings |= past.get("rms", {})
            return RMSNorm(list(shape), elementwise_affine=affine, **settings)
        if to == "rms":
            raise _Stays("its bias has no place in an RMSNorm")
        raise _Stays("normalizes the last axes, whatever they are; only layer and rms do so too")
    channels = _channels(old)
    if to == "batch":
        settings |= past.get("batch", {})
        kind = settings.pop("kind", BATCH[_dims(old, dims) - 1])
        return kind(channels, affine=affine, **settings)
    if to == "layer2d":
        if _dims(old, 2) != 2:
            raise _Stays("is not made for images")
        return LayerNorm2d(channels, elementwise_affine=affine, **settings)
    batch = isinstance(old, _BatchNorm) or "batch" in past
    vectors = batch and _dims(old, 2) == 1  # or sequences: it takes both
    if to == "instance":
        if vectors:
            raise _Stays("on vectors every channel would be a group of one element, and 0")
        return InstanceNorm(channels, affine=affine, **settings)
    if to == "rms":
        raise _Stays("takes the mean away per channel, which an RMSNorm does not")
    groups = 1 if to == "layer" else _groups(channels, max_groups, VECTOR if vectors else 2)
    before = past.get("group", {}).get("num_groups", 0)
    same = isinstance(old, nn.GroupNorm) and _kind(old) == to
    if same or (to == "group" and 0 < before <= max_groups):
        groups = old.num_groups if same else before
    if channels == groups and vectors:
        raise _Stays("on vectors its groups would have one element, and be 0")
    return GroupNorm(groups, channels, affine=affine, **settings)


def _dims(old: nn.Module, unknown: int) -> int:
    """The axes that a layer is made for, beside samples and channels."""
    name = _past(old).get("batch", {}).get("kind", type(old)).__name__
    for dims in (1, 2, 3):
        if f"{dims}d" in name:
            return dims
    return unknown


def _groups(channels: int, most: int, least: int) -> int:
    """As many groups as there may be with that many channels in each at least."""
    fitting = (g for g in range(1, most + 1) if channels % g == 0 and channels // g >= least)
    return max(fitting, default=1)


def _carry(old: nn.Module, new: nn.Module) -> None:
    """Weight and bias, mode and hooks: the very objects, which optimizers and handles know."""
    for name in ("weight", "bias"):
        if hasattr(new, name):
            value = getattr(old, name, None)
            if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                value = nn.Parameter(value.clone(), requires_grad=False)  # a frozen one's buffer
            setattr(new, name, value)
    new.train(old.training)
    for hooks in _HOOKS:
        setattr(new, hooks, getattr(old, hooks))


def _with_what_was_built_in(old: nn.Module, new: nn.Module) -> nn.Module:
    """timm's norms carry dropout and activation within them: these follow the new norm."""
    extra = [m for m in (getattr(old, "drop", None), getattr(old, "act", None)) if m is not None]
    return nn.Sequential(new, *extra) if extra else new


def _put(net: nn.Module, path: str, new: nn.Module) -> nn.Module:
    if not path:
        return new
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, new)
    return net
