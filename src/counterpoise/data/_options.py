"""The settings by which data are read: those of `load`, in one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

Progress = Callable[[int, int], None]
NEVER = "never"  # of cache: nothing is kept
TEST_WORDS = ("auto", "held_out", "per_seed")  # of test, where it names nothing
_WORDS = {
    "resize": ("crop", "squash", "pad"),
    "interpolation": ("auto", "bilinear", "bicubic"),
    "small": ("refuse", "drop", "merge"),
    "missing_labels": ("refuse", "drop"),
}


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
    interpolation: str = "auto"

    def check(self, what: str, *takes: str) -> None:
        """Refuse settings that a kind of data does not take.

        Args:
            what: the kind, as people say it.
            takes: the settings that it takes, besides those that all do.

        Raises:
            ValueError: another one was asked for.
        """
        if self.cache == NEVER and "cache" not in takes:
            raise ValueError(
                f"cache = 'never' is for torch Datasets by module:name, which are then read in "
                f"each epoch, but this is {what}; cache must be a folder, or auto"
            )
        usual = Options()
        for name in ("target", "drop", "keep", "group", "split", "missing_labels"):
            if name not in takes and getattr(self, name) != getattr(usual, name):
                raise ValueError(
                    f"{name} is not for {what}, but got {getattr(self, name)!r}; leave it out"
                )
        if "test" not in takes and self.test not in TEST_WORDS:
            raise ValueError(
                f"test must be auto, held_out or per_seed for {what}, but got {self.test!r}"
            )

    def __post_init__(self) -> None:
        sides = self.image_size
        if not (
            _is_whole(sides, 0)
            if not isinstance(sides, tuple)
            else len(sides) == 2 and all(_is_whole(side, 1) for side in sides)
        ):
            raise ValueError(
                "image_size must be 0 or more, or a height and a width of 1 or more, got "
                f"{sides}; 32 and 224 are usual"
            )
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(
                    f"{name} must be {', '.join(words[:-1])} or {words[-1]}, got "
                    f"{getattr(self, name)!r}"
                )


def _is_whole(side: object, least: int) -> bool:
    return isinstance(side, Integral) and not isinstance(side, bool) and int(side) >= least
