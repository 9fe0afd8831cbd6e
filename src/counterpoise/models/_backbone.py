"""Nets of timm and torchvision, pretrained or not, with a head of our own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from counterpoise.models import _weights
from counterpoise.models._heads import make_head
from counterpoise.models._lora import add_lora
from counterpoise.registry import BACKBONES, unknown
from counterpoise.text import one_line

if TYPE_CHECKING:
    from types import ModuleType

_CHANNELS = 3  # of an image for nets that do not say
_AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
_EXTRA = "pip install 'counterpoise[vision]'"


@dataclass(frozen=True)
class InputConfig:
    """The inputs that a pretrained net was trained on.

    Attributes:
        size: height and width, in pixels.
        mean: of each channel, for pixels from 0 to 1.
        std: the same.
        interpolation: "bilinear" or "bicubic", by which images were resized.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.0,) * _CHANNELS
    std: tuple[float, ...] = (1.0,) * _CHANNELS
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Backbone(nn.Module):
    """A net for images: it takes pixels from 0 to 1, normalizes them, and ends in a head.

    Grey images are given to each channel, and images of another size are resized.

    Args:
        body: (N, channels, *size) to features (N, D), without a head.
        head: (N, D) to logits (N, num_classes).
        config: of the inputs; its size is that which the body gets.
        name: such as "timm:resnet18", for messages.
        notes: sentences on where the weights are from.
        feature_size: D; 0 to find it out.

    Attributes:
        head_path: the name of the head among the modules.

    Shape: (N, C, H, W) to (N, num_classes), where C is 1 or the number of channels.

    Raises:
        ValueError: a body that does not answer with features (N, D), or not to that size.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from counterpoise.models import Backbone, InputConfig
        >>> body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> net = Backbone(body, nn.Linear(8, 5), InputConfig((32, 32)))
        >>> net(torch.rand(2, 1, 28, 28)).shape, net.features(torch.rand(2, 3, 32, 32)).shape
        (torch.Size([2, 5]), torch.Size([2, 8]))
    """

    mean: Tensor
    std: Tensor
    head_path = "head"

    def __init__(
        self,
        body: nn.Module,
        head: nn.Module,
        config: InputConfig,
        name: str = "a backbone",
        notes: tuple[str, ...] = (),
        feature_size: int = 0,
    ) -> None:
        super().__init__()
        channels = len(config.mean)
        self.feature_size = feature_size or _feature_size(body, channels, config.size, name)
        self.body, self.head, self.config, self.name, self.notes = body, head, config, name, notes
        for key, values in (("mean", config.mean), ("std", config.std)):
            self.register_buffer(key, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    @property
    def identity(self) -> str:
        """All that its features depend on: name, input, and a digest of the body's weights."""
        found = hashlib.sha256(repr(self.body).encode())
        for key, value in sorted(self.body.state_dict().items()):
            found.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return f"{self.name} {self.config} {found.hexdigest()}"

    def features(self, x: Tensor) -> Tensor:
        """Return what the head is given: (N, C, H, W), uint8 or from 0 to 1, to (N, D)."""
        if x.dtype == torch.uint8:
            x = x.float() / 255
        size = self.config.size
        if tuple(x.shape[2:]) != size:
            smaller = x.shape[2] > size[0] or x.shape[3] > size[1]
            x = nn.functional.interpolate(
                x, size, mode=self.config.interpolation, antialias=smaller, align_corners=False
            ).clamp(0, 1)
        return self.body((x - self.mean) / self.std)  # one channel becomes all by broadcasting

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.features(x))

    def extra_repr(self) -> str:
        """Return what the repr shows."""
        return f"{self.name}, input {self.config.size[0]}x{self.config.size[1]}"


def is_backbone(word: object) -> bool:
    """Return True for the name of a net of timm or torchvision.

    Example:
        >>> is_backbone("timm:resnet18"), is_backbone("resnet8")
        (True, False)
    """
    return isinstance(word, str) and word.startswith(BACKBONES)


def open_backbone(
    name: str,
    num_classes: int,
    *,
    channels: int = _CHANNELS,
    size: int | tuple[int, ...] = 0,
    weights: str = "pretrained",
    head: str = "linear",
    lora: int = 0,
    interpolation: str = "auto",
) -> Backbone:
    """Return a net of timm or torchvision with a new head.

    Args:
        name: "timm:NAME" or "torchvision:NAME".
        num_classes: of the head.
        channels: of the images: 1, which each channel of the net is given, or as many as it has.
        size: height and width that the net is given, one number for both; 0 for those that it was
            trained on.
        weights: "pretrained" for those that come with it, downloaded once; "none" for random ones;
            or a file, .safetensors or a state dict of torch, which is read with weights_only=True.
        head: as in `make_head`.
        lora: rank of low-rank adapters in the attention layers, by peft (arXiv 2106.09685); all
            else of the body is frozen then; 0 for none.
        interpolation: "bilinear" or "bicubic", for images of another size than the net is given;
            "auto" for that of the net.

    Raises:
        ValueError: timm or torchvision is not installed, an unknown name (with the nearest one),
            weights that cannot be downloaded or do not fit (with the tensors), other channels, or
            a size that the net cannot take.

    Example:
        >>> net = open_backbone("timm:resnet18", 10, weights="none")
        >>> net.feature_size, net.config.size, net.head
        (512, (224, 224), Linear(in_features=512, out_features=10, bias=True))
    """
    config = input_config(name)
    if channels not in (1, len(config.mean)):
        raise ValueError(
            f"{name} takes images of {len(config.mean)} channels, or grey ones, but these have "
            f"{channels}; leave out some channels, or write a net of your own (module:name)"
        )
    if size:
        height, width = (size, size) if isinstance(size, int) else size
        config = replace(config, size=(height, width))
    if interpolation != "auto":
        config = replace(config, interpolation=_interpolation(interpolation))
    library, _, word = name.partition(":")
    make = _timm_body if library == "timm" else _torchvision_body
    body, of_head = make(name, word, config, weights)
    notes = (_weights.described(name, weights),)
    if weights not in ("pretrained", "none"):
        notes = _weights.load(body, weights, of_head, name)
    numbers = _feature_size(body, len(config.mean), config.size, name)
    notes = (*notes, _described(config, numbers, channels))
    if lora:
        notes = (*notes, add_lora(body, lora, name))
    return Backbone(body, make_head(head, numbers, num_classes), config, name, notes, numbers)


def _described(config: InputConfig, numbers: int, channels: int) -> str:
    (height, width), grey = config.size, "; grey images are given to each channel"
    mean, std = (", ".join(f"{x:g}" for x in values) for values in (config.mean, config.std))
    return (
        f"its input is {height} x {width} pixels, {config.interpolation}, mean {mean}, standard "
        f"deviation {std}{grey if channels == 1 else ''}; a new head on {numbers:,} features"
    )


@cache
def input_config(name: str) -> InputConfig:
    """Return the inputs that a net was trained on, without making it.

    Raises:
        ValueError: timm or torchvision is not installed, or an unknown name, with the nearest one.

    Example:
        >>> input_config("timm:tf_efficientnet_lite0").size
        (224, 224)
    """
    library, _, word = name.partition(":")
    if library == "timm":
        timm = _library("timm")
        if not timm.is_model(word):
            raise ValueError(_unknown(name, timm.list_models()))
        plain, _, tag = word.partition(".")
        if tag and word not in (tags := timm.list_models(f"{plain}.*", pretrained=True)):
            raise ValueError(_unknown(name, tags))
        found = timm.get_pretrained_cfg(word)
        size = cast("tuple[int, int]", tuple(found.input_size[1:]))
        return InputConfig(size, found.mean, found.std, _interpolation(found.interpolation))
    models = _library("torchvision").models
    names = models.list_models(module=models)
    if word not in names:
        raise ValueError(_unknown(name, names))
    default = getattr(models.get_model_weights(word), "DEFAULT", None)
    if default is None:
        return InputConfig((224, 224))
    made = default.transforms()
    mode = _interpolation(made.interpolation.value)
    return InputConfig((made.crop_size[0],) * 2, tuple(made.mean), tuple(made.std), mode)


def _unknown(name: str, known: list[str]) -> str:
    """Return the message that a library has no such net, with the nearest one."""
    library, _, word = name.partition(":")
    if not word or not known:
        return f"{library} must know the net, but has none called {word!r}"
    short = unknown("x", word, known).rpartition("; did you mean ")[2].rstrip("?").strip("'")
    return (
        f"{library} must know the net, but has none called {word!r}; did you mean "
        f"'{library}:{short}'? {library}'s list_models() names all"
    )


def _interpolation(word: str) -> Literal["bilinear", "bicubic"]:
    return "bilinear" if word == "bilinear" else "bicubic"


def _library(name: str) -> ModuleType:
    """Import timm or torchvision."""
    try:
        return __import__(name)
    except ImportError as error:
        raise ValueError(f"{name}: nets need the package {name}, but: {error}; {_EXTRA}") from error
    except Exception as error:  # torchvision of another version than torch raises RuntimeError
        raise ValueError(
            f"{name}: nets need the package {name}, which cannot be imported: {one_line(error)}; "
            "install the versions of torch and torchvision that belong together"
        ) from error


def _timm_body(
    name: str, word: str, config: InputConfig, weights: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a net of timm without its head, and how the names of the head's tensors begin."""
    timm = _library("timm")
    found = timm.get_pretrained_cfg(word)
    pretrained = weights == "pretrained"
    if pretrained and not timm.is_model_pretrained(word):
        raise ValueError(f"timm has no weights for {word}; give a file, or weights = 'none'")
    settings: dict[str, Any] = {"num_classes": 0, "pretrained": pretrained}
    if found.fixed_input_size and config.size != tuple(found.input_size[1:]):
        settings["img_size"] = config.size
    try:
        with _weights.downloading(name, pretrained):
            body = timm.create_model(word, **settings)
    except (TypeError, AssertionError) as error:
        (height, width), own = config.size, found.input_size
        raise ValueError(
            f"{name} must be able to take {height} x {width} pixels, but: {error}; it was made for "
            f"{own[1]} x {own[2]}: set image_size to that, or leave it out"
        ) from error
    head = found.classifier or ()
    return body, (head,) if isinstance(head, str) else tuple(head)


def _torchvision_body(
    name: str, word: str, config: InputConfig, weights: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a net of torchvision with nothing in place of its last linear layer."""
    models = _library("torchvision").models
    chosen = models.get_model_weights(word).DEFAULT if weights == "pretrained" else None
    settings: dict[str, Any] = {}
    if word.startswith("vit_") and config.size != input_config(name).size:
        settings["image_size"] = config.size[0]
    if word in _AUXILIARY and chosen is None:
        settings["init_weights"] = True
    try:
        with _weights.downloading(name, chosen is not None):
            net = models.get_model(word, weights=chosen, **settings)
    except (TypeError, AssertionError) as error:
        height, width = config.size
        raise ValueError(
            f"{name} must be able to take {height} x {width} pixels, but: {error}; leave "
            "image_size out"
        ) from error
    if word in _AUXILIARY:  # classifiers in the middle, for training alone
        net.aux_logits = False
        for path in _AUXILIARY[word]:
            setattr(net, path, None)
    linear = [path for path, m in net.named_modules() if type(m) is nn.Linear]
    if not linear:
        raise ValueError(f"{name} must end in a linear layer, but has none; take one of timm")
    net.set_submodule(linear[-1], nn.Identity())
    return net, (linear[-1],)


def _feature_size(body: nn.Module, channels: int, size: tuple[int, int], name: str) -> int:
    """Show a body an image, and return how many numbers it answers with."""
    training = body.training
    example = torch.zeros(1, channels, *size, device=_device(body))
    try:
        with torch.no_grad():
            found = body.eval()(example)
    except Exception as error:  # whatever a net raises at a size that it cannot take
        raise ValueError(
            f"{name} must be able to take {size[0]} x {size[1]} pixels, but: {error}; set "
            "image_size to another size, or leave it out"
        ) from error
    finally:
        body.train(training)
    if not isinstance(found, Tensor) or found.dim() != 2:
        came = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ValueError(f"{name} must make features (N, D), but makes {came}; take another net")
    return found.shape[1]


def _device(body: nn.Module) -> torch.device:
    return next((p.device for p in body.parameters()), torch.device("cpu"))
