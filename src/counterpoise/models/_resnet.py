"""Residual nets for small images."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.models._images import channels_last, image_settings

Shape = tuple[int, int, int]
Norm = Callable[[Shape], nn.Module]


class ResNet(nn.Module):
    r"""ResNet for CIFAR: a 3x3 convolution, three stages of residual blocks, and a linear layer.

    .. math::
        \text{block}(x) = \text{activation}(
        \text{norm}(\text{conv}(\text{activation}(\text{norm}(\text{conv}(x)))))
        + \text{shortcut}(x))

    A stage has n = (depth - 2) / 6 blocks. The stages have 16, 32 and 64 channels, times `width`;
    the second and the third halve the image in their first block. Global average pooling comes
    before the linear layer. With batch norm, 10 classes and 3 channels ResNet-20 has 269,722
    parameters.

    Differences to the paper: the norm can be chosen or left out, and without one the convolutions
    have biases, initialized to 0. Equal seeds give equal initial weights for every norm.

    Source: He et al. 2015, arXiv 1512.03385, section 4.2; weights as in arXiv 1502.01852.

    Args:
        norm: a function from (channels, height, width) to a module, such as an entry of
            `counterpoise.norms.ALL` or `lambda shape: nn.BatchNorm2d(shape[0])`; None for no norm.
        depth: layers with weights, 6n + 2: 8, 14, 20, 32, 44, 56, 110.
        width: factor of the channels.
        shortcut: of blocks that halve the image: "A", every second pixel and zeros for the new
            channels, as in the paper's CIFAR nets; or "B", a 1x1 convolution and a norm.
        in_channels: channels of the images.
        num_classes: number of logits.
        image_size: height and width of the images, one number if they are equal; at least 8.
        activation: a function without arguments to a module, such as `nn.ReLU`.

    Shape: (N, in_channels, height, width) to (N, num_classes). Activations are `channels_last`.

    Raises:
        ValueError: sizes out of range, or images of another size than the net was built for.

    Example:
        >>> import torch
        >>> from counterpoise import models, norms
        >>> net = models.ResNet(norms.ALL["group"], depth=8, in_channels=1, image_size=28)
        >>> net(torch.randn(5, 1, 28, 28)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        norm: Norm | None = None,
        *,
        depth: int = 20,
        width: int = 1,
        shortcut: str = "A",
        in_channels: int = 3,
        num_classes: int = 10,
        image_size: int | tuple[int, int] = 32,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        height, wide = (image_size, image_size) if isinstance(image_size, int) else image_size
        _check(depth, width, shortcut, height, wide)
        self.image_shape = (in_channels, height, wide)
        channels = 16 * width
        shape = (channels, height, wide)
        self.stem = nn.Sequential(*_conv_norm(in_channels, shape, norm), activation())
        blocks: list[nn.Module] = []
        for stage in range(3):
            for block in range((depth - 2) // 6):
                halve = stage > 0 and block == 0
                blocks.append(_Block(shape, halve, norm, shortcut, activation))
                shape = _halved(shape) if halve else shape
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(shape[0], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        if tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"this ResNet was built for images {self.image_shape}, but got "
                f"{tuple(x.shape)}; pass in_channels and image_size when building it"
            )
        x = channels_last(x)
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class _Block(nn.Module):
    """Residual block of two convolutions."""

    def __init__(
        self,
        before: Shape,
        halve: bool,
        norm: Norm | None,
        shortcut: str,
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        shape, stride = (_halved(before), 2) if halve else (before, 1)
        self.body = nn.Sequential(
            *_conv_norm(before[0], shape, norm, stride=stride),
            activation(),
            *_conv_norm(shape[0], shape, norm),
        )
        self.shortcut = nn.Identity()
        if halve and shortcut == "A":
            self.shortcut = _EverySecondPixel()
        elif halve:
            self.shortcut = nn.Sequential(*_conv_norm(before[0], shape, norm, kernel=1, stride=2))
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


class _EverySecondPixel(nn.Module):
    """Shortcut without parameters: every second pixel, and as many channels of zeros again."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))


class _Conv(nn.Conv2d):
    """Convolution with the initialization of He et al., and a bias of 0 if it has one."""

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def _conv_norm(
    before: int, shape: Shape, norm: Norm | None, kernel: int = 3, stride: int = 1
) -> list[nn.Module]:
    conv = _Conv(before, shape[0], kernel, stride, padding=kernel // 2, bias=norm is None)
    return [conv] if norm is None else [conv, norm(shape)]


def _halved(shape: Shape) -> Shape:
    """Return the shape after a convolution of stride 2; odd sizes are rounded up."""
    return 2 * shape[0], (shape[1] + 1) // 2, (shape[2] + 1) // 2


def _check(depth: int, width: int, shortcut: str, height: int, image_width: int) -> None:
    if depth < 8 or depth % 6 != 2:
        raise ValueError(
            f"depth must be 6n + 2 with n >= 1 (8, 14, 20, 32, 44, 56, 110), but got {depth}"
        )
    if shortcut not in ("A", "B"):
        raise ValueError(f"shortcut must be 'A' or 'B', but got {shortcut!r}")
    if width < 1 or height < 8 or image_width < 8:
        raise ValueError(
            "ResNet needs width >= 1 and images of 8x8 at least (it halves them twice), but got "
            f"width {width} and {height}x{image_width}; enlarge the images"
        )


def resnet8(norm: Norm | None, shape: tuple[int, ...], num_classes: int) -> ResNet:
    """Return the net of depth 8 for samples of a shape (C, H, W)."""
    return ResNet(norm, depth=8, num_classes=num_classes, **image_settings("resnet8", shape))


def resnet20(norm: Norm | None, shape: tuple[int, ...], num_classes: int) -> ResNet:
    """Return the net of depth 20 for samples of a shape (C, H, W)."""
    return ResNet(norm, depth=20, num_classes=num_classes, **image_settings("resnet20", shape))
