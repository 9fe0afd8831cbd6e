"""The settings by which data are read: those of `load`, in one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]


def _quiet(done: int, whole: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Options:
    """The settings of `load`, as its docstring describes them."""

    image_size: int | tuple[int, ...] = 0
    resize: str = "crop"
    target: str = ""
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    group: str = ""
    test: str = "auto"
    split: str = ""
    min_samples: int = 0
    small: str = "refuse"
    cache: str = "auto"
    seed: int = 0
    on_progress: Progress = _quiet
    missing_labels: str = "refuse"

    def __post_init__(self) -> None:
        sides = self.image_size if isinstance(self.image_size, tuple) else (self.image_size,)
        if min(sides) < 0:
            raise ValueError(
                f"image_size must be 0 or more, got {self.image_size}; 32 and 224 are usual"
            )
