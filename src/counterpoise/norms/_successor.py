"""The successor of one normalization layer, with what it has learned and how it was set."""

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
from counterpoise.norms._rms import RMSNorm

BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
FROZEN = "FrozenBatchNorm"  # everybody's begin so, and do as they say; weight and bias are buffers
VECTOR = 16  # channels a group of a vector at least: two alone would put out only +1 and -1
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


class Stays(Exception):
    """Why a layer is left as it is."""


def is_norm(module: nn.Module) -> bool:
    known = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # lazy ones too
    return isinstance(module, known) or type(module).__name__.startswith(FROZEN)


def title(module: nn.Module) -> str:
    if isinstance(module, nn.Sequential):  # a norm with what was built into its predecessor
        return " + ".join(title(m) for m in module if not isinstance(m, nn.Identity))
    name = type(module).__name__
    if isinstance(module, nn.GroupNorm) and not isinstance(module, InstanceNorm):
        return f"{name}({module.num_groups}, {module.num_channels})"
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return f"{name}({', '.join(map(str, module.normalized_shape))})"
    if not is_norm(module):
        return name
    return f"{name}({_channels(module)})"


def note(old: nn.Module, to: str) -> str:
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


def successor(old: Any, to: str, max_groups: int, dims: int) -> nn.Module:
    """The new layer, or the reason why there is none."""
    if hasattr(old, "has_uninitialized_params") and old.has_uninitialized_params():
        raise Stays("lazy: send a batch through the net first")
    if getattr(old, "num_features", 1) == 0:
        raise Stays("lazy, and without parameters never told its channels: set num_features")
    if parametrize.is_parametrized(old):
        raise Stays("its weight is parametrized: remove the parametrization first")
    for name in ("weight", "bias"):
        held = name in old._parameters or name in old._buffers
        if not held and getattr(old, name, None) is not None:
            raise Stays(
                f"its {name} is computed by a hook (pruning, weight_norm): make it permanent first"
            )
    if not _does_what_its_class_says(old):
        raise Stays(f"{type(old).__name__} has a forward of its own")
    if already(old, to):
        raise Stays(f"is {to} already")
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


def already(old: nn.Module, to: str) -> bool:
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
            raise Stays("its bias has no place in an RMSNorm")
        raise Stays("normalizes the last axes, whatever they are; only layer and rms do so too")
    channels = _channels(old)
    if to == "batch":
        settings |= past.get("batch", {})
        kind = settings.pop("kind", BATCH[_dims(old, dims) - 1])
        return kind(channels, affine=affine, **settings)
    if to == "layer2d":
        if _dims(old, 2) != 2:
            raise Stays("is not made for images")
        return LayerNorm2d(channels, elementwise_affine=affine, **settings)
    batch = isinstance(old, _BatchNorm) or "batch" in past
    vectors = batch and _dims(old, 2) == 1  # or sequences: it takes both
    if to == "instance":
        if vectors:
            raise Stays("on vectors every channel would be a group of one element, and 0")
        return InstanceNorm(channels, affine=affine, **settings)
    if to == "rms":
        raise Stays("takes the mean away per channel, which an RMSNorm does not")
    groups = 1 if to == "layer" else _groups(channels, max_groups, VECTOR if vectors else 2)
    before = past.get("group", {}).get("num_groups", 0)
    same = isinstance(old, nn.GroupNorm) and _kind(old) == to
    if same or (to == "group" and 0 < before <= max_groups):
        groups = old.num_groups if same else before
    if channels == groups and vectors:
        raise Stays("on vectors its groups would have one element, and be 0")
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
