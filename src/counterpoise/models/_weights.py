"""Weights of a pretrained net: downloaded by its library, or from a file."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from counterpoise.text import listed, one_line

_HOSTS = {"timm": "huggingface.co", "torchvision": "download.pytorch.org"}
# In the files of training scripts; averaged weights first, as timm takes them.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "body.", "model.", "backbone.")  # that wrappers put before all names
_COUNTER = "num_batches_tracked"


def described(name: str, weights: str) -> str:
    """Say in a clause where weights are from."""
    library = name.partition(":")[0]
    if weights == "none":
        return f"{_named(name)} with random weights"
    return f"{_named(name)} with {library}'s pretrained weights"


def _named(name: str) -> str:
    """Return a net's name with its library's version, as "resnet18 of timm 1.0.31"."""
    library, _, word = name.partition(":")
    return f"{word} of {library} {version(library)}"


@contextmanager
def downloading(name: str, pretrained: bool) -> Iterator[None]:
    """Let a library download weights, or find those that it has; do not wait where no net is.

    Raises:
        ValueError: they are not there, and cannot be downloaded.
    """
    if not pretrained:
        yield
        return
    library = name.partition(":")[0]
    offline = not _reachable(_HOSTS[library])
    try:
        with _offline(offline and library == "timm"):
            yield
    except OSError as error:  # of urllib and of the Hugging Face hub
        raise ValueError(
            f"the weights of {name} must be downloaded once from {_HOSTS[library]}, but: "
            f"{'there is no network' if offline else one_line(error)[:200]}; give the file of "
            "weights that are on this machine (training.weights, --weights), or weights = 'none' "
            "to train from scratch"
        ) from error


def _reachable(host: str) -> bool:
    """Return whether a host has an address, or a proxy may know it."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """Let the Hugging Face hub look for files on this machine alone: else it tries for a minute."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def load(body: nn.Module, path: str, of_head: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Load weights from a file into a net without a head, and say what was loaded and what left.

    Tensors are found by their names; or, where no name is known but as many tensors in the same
    order have the same shapes and kinds, by their order.

    Args:
        body: the net; all of its tensors are set.
        path: of a .safetensors file, or a state dict of torch.
        of_head: how the names of a head's tensors begin, which are left.
        name: of the net, for messages.

    Raises:
        ValueError: a file that cannot be read, or tensors that do not fit.
    """
    found, part = _read(path, name)
    state, own = _plain_names(found), body.state_dict()
    wanted = [k for k in own if not k.endswith(_COUNTER)]
    notes = []
    if not any(key in state for key in wanted):
        state, said = _by_order(state, own, wanted, path, name)
        notes.append(said)
    missing = [k for k in wanted if k not in state]
    wrong = [
        f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}"
        for k in wanted
        if k in state and state[k].shape != own[k].shape
    ]
    heads = tuple(f"{h}." for h in of_head)
    others = [k for k in state if k not in own and not (heads and k.startswith(heads))]
    others = [] if notes else [k for k in others if not k.endswith(_COUNTER)]
    for what, found in (("lacks", missing), ("has other shapes of", wrong), ("has more:", others)):
        if found:
            raise ValueError(
                f"{path} must hold the weights of {name}, but {what} {listed(found)}; see that it "
                "is the same net"
            )
    bad = [k for k in wanted if not state[k].isfinite().all()]
    if bad:
        raise ValueError(
            f"{path} must hold finite weights, but has NaN or infinities in {listed(bad)}"
        )
    body.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
    left = sorted(k for k in state if k not in own)
    said = f"{_named(name)} with {len(wanted):,} tensors of {path}{part}"
    return (f"{said}; not taken: {listed(left)}" if left else said, *notes)


def _by_order(
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    wanted: list[str],
    path: str,
    name: str,
) -> tuple[dict[str, Tensor], str]:
    """Return a state under the names of a net, whose tensors have the same order and kinds."""
    theirs = [k for k in state if not k.endswith(_COUNTER)]
    pairs = list(zip(wanted, theirs, strict=False))
    off = [f"{b} where {a} is" for a, b in pairs if not _alike(a, own[a], b, state[b])]
    if len(theirs) < len(wanted) or off:
        raise ValueError(
            f"{path} must hold the weights of {name}, but has none of its tensors' names, such as "
            f"{wanted[0]} (it has {listed(theirs[:3])}), nor the same tensors in order"
            f"{f': {off[0]}' if off else ''}; see that it is the same net"
        )
    found = {a: state[b] for a, b in pairs} | {b: state[b] for b in theirs[len(wanted) :]}
    return found, (
        f"the file's tensors have other names ({theirs[0]}, ...), but the same shapes in the same "
        "order, by which they were taken"
    )


def _alike(name: str, own: Tensor, other: str, its: Tensor) -> bool:
    same = name.rpartition(".")[2] == other.rpartition(".")[2]
    return same and own.shape == its.shape


def _plain_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a state without what wrappers put before all names."""
    for prefix in _PREFIXES:
        if state and all(k.startswith(prefix) for k in state):
            return _plain_names({k.removeprefix(prefix): v for k, v in state.items()})
    return state


def _read(path: str, name: str) -> tuple[Mapping[str, Tensor], str]:
    """Return the tensors in a file by their names, and which part of the file they are.

    Raises:
        ValueError: no such file, or one that holds something else.
    """
    import safetensors.torch

    file = Path(path).expanduser()
    found: object
    try:
        if file.suffix == ".safetensors":
            found = safetensors.torch.load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(
            f"weights must be pretrained, none, or a file of {name}, but there is no {path}"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # torch raises whatever a broken file leads to
        raise ValueError(
            f"{path} must be a .safetensors file, or a state dict that torch.load reads with "
            f"weights_only=True, but: {one_line(error)[:200] or type(error).__name__}"
        ) from error
    part = ""
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found, part = found[key], f" (its {key!r})"
    if not isinstance(found, Mapping) or not all(map(_is_weight, found, found.values())):
        raise ValueError(
            f"{path} must hold a state dict, names with a dense tensor of real numbers each, but "
            f"holds a {type(found).__name__} of other things"
        )
    return found, part


def _is_weight(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_nested or value.is_quantized or value.is_meta or value.is_complex())
        and (value.is_floating_point() or name.endswith(_COUNTER) or value.dim() > 0)
    )
