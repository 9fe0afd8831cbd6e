"""The check of a sample's shape that nets for images share."""

from typing import Any


def image_settings(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return `in_channels` and `image_size` for samples of a shape.

    Raises:
        ValueError: a shape that is not (channels, height, width).
    """
    if len(shape) != 3:
        raise ValueError(
            f"{name} needs images (channels, height, width), but the samples have the shape "
            f"{tuple(shape)}; take mlp for vectors"
        )
    return {"in_channels": shape[0], "image_size": (shape[1], shape[2])}
