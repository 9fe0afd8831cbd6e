"""The deep and narrow CNN of the exercise."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.kernels.conv2d import conv2d
from counterpoise.models._images import channels_last, image_settings

Norm = Callable[[tuple[int, int, int]], nn.Module]


class DeeperCNN(nn.Module):
    r"""Plain CNN: two blocks of 3x3 convolutions, each with 2x2 max pooling, and a linear layer.

    A block is `convs_per_block` times conv -> norm (if any) -> activation. With 8 convolutions per
    block and no norm the signal vanishes before the logits.

    Args:
        norm: a function from (channels, height, width) to a module, such as an entry of
            `counterpoise.norms.ALL` or `lambda shape: nn.BatchNorm2d(shape[0])`; None for no norm.
        in_channels: channels of the images.
        num_classes: number of logits.
        channels: output channels of the first and of the second block.
        convs_per_block: convolutions per block, at least 1.
        image_size: height and width of the images, one number if they are equal; at least 4.
        activation: a function without arguments to a module, such as `nn.ReLU`.

    Shape: (N, in_channels, height, width) to (N, num_classes). Activations are `channels_last`.

    Raises:
        ValueError: sizes out of range, or images of another size than the net was built for.

    Example:
        >>> import torch
        >>> from counterpoise import models, norms
        >>> net = models.DeeperCNN(norms.ALL["group"], image_size=32, in_channels=3)
        >>> net(torch.randn(5, 3, 32, 32)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        norm: Norm | None = None,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        channels: tuple[int, int] = (4, 8),
        convs_per_block: int = 2,
        image_size: int | tuple[int, int] = 28,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if height < 4 or width < 4 or convs_per_block < 1:
            raise ValueError(
                "DeeperCNN needs images of 4x4 at least (it halves them twice) and a conv per "
                f"block, but got {height}x{width} and {convs_per_block}"
            )
        self.image_shape = (in_channels, height, width)
        shapes = [(channels[0], height, width), (channels[1], height // 2, width // 2)]
        self.conv_block_1 = _block(in_channels, shapes[0], convs_per_block, norm, activation)
        self.conv_block_2 = _block(channels[0], shapes[1], convs_per_block, norm, activation)
        pooled = (height // 4) * (width // 4)
        self.MLP = nn.Sequential(nn.Flatten(), nn.Linear(pooled * channels[1], num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        if tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"this DeeperCNN was built for images {self.image_shape}, but got "
                f"{tuple(x.shape)}; pass in_channels and image_size when building it"
            )
        x = channels_last(x)
        return self.MLP(self.conv_block_2(self.conv_block_1(x)))


def _block(
    in_channels: int,
    shape: tuple[int, int, int],
    convs: int,
    norm: Norm | None,
    activation: Callable[[], nn.Module],
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convs):
        layers.append(Conv3x3(in_channels, shape[0]))
        if norm is not None:
            layers.append(norm(shape))
        layers.append(activation())
        in_channels = shape[0]
    return nn.Sequential(*layers, Halve())


class Conv3x3(nn.Conv2d):
    """3x3 convolution with padding 1, as `nn.Conv2d` but faster for few channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution."""
        return conv2d(input, self.weight, self.bias, (1, 1))


class Halve(nn.MaxPool2d):
    """2x2 max pooling, as `nn.MaxPool2d(2)` but several times faster without gradients."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, input: Tensor) -> Tensor:
        """Return the maximum of each 2x2 square."""
        if torch.is_grad_enabled():
            return F.max_pool2d(input, 2)
        h, w = input.shape[2] // 2 * 2, input.shape[3] // 2 * 2
        rows = torch.maximum(input[:, :, 0:h:2], input[:, :, 1:h:2])
        return torch.maximum(rows[..., 0:w:2], rows[..., 1:w:2])


def for_shape(norm: Norm | None, shape: tuple[int, ...], num_classes: int) -> DeeperCNN:
    """Return the net for samples of a shape (C, H, W)."""
    return DeeperCNN(norm, num_classes=num_classes, **image_settings("deeper_cnn", shape))
