"""What the nets for images ask of a sample's shape."""

from typing import Any


def image_settings(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the settings that say how large the images are.

    Raises:
        ValueError: samples that are no images (channels, height, width).
    """
    if len(shape) != 3:
        raise ValueError(
            f"{name} needs images (channels, height, width), but the samples have the shape "
            f"{tuple(shape)}; take mlp for vectors"
        )
    return {"in_channels": shape[0], "image_size": (shape[1], shape[2])}
