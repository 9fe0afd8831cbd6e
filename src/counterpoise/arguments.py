"""Normalized arguments: values as the code expects them."""

import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

Counts = Mapping[int, float] | Iterable[float] | npt.ArrayLike
"""Samples per class: a mapping from class to number, or one number per class in their order."""


def as_integer(name: str, value: SupportsIndex, least: int | None = None) -> int:
    """Return an integer of whatever kind, NumPy's or torch's, as an int.

    Args:
        name: of the argument, for the message.
        value: what came.
        least: the smallest that is allowed; None for any.

    Raises:
        TypeError: no integer; True and False are none.
        ValueError: one below `least`.

    Example:
        >>> import numpy as np
        >>> as_integer("epochs", np.int64(3), least=1)
        3
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, but got {value!r}; pass an int") from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be {least} or more, but got {number}")
    return number


def read_counts(
    counts: Counts, name: str = "counts", *, zeros: bool = False
) -> npt.NDArray[np.float64]:
    """Return the samples of each class in float64, (C), of whatever kind they come as.

    Args:
        counts: one number >= 0 per class, at least one of them above 0: a list, array or tensor in
            the order of the classes, or a dict, Counter or pandas Series from class to number, with
            the keys 0 .. C-1 in any order.
        name: of the argument, for the message.
        zeros: whether all of them may be 0.

    Raises:
        TypeError: a class that is no integer.
        ValueError: a class that is missing or given twice, or numbers that are no counts.

    Example:
        >>> read_counts({1: 10, 0: 90})
        array([90., 10.])
    """
    given: Any = counts
    if hasattr(given, "to_dict"):  # a Series, which value_counts() sorts by size
        given = given.to_dict()
    if isinstance(given, Mapping):
        given = _by_class(given, name)
    elif hasattr(given, "detach"):  # a tensor, also one that NumPy has no type for
        given = given.detach().double().cpu().numpy()
    elif isinstance(given, Set | str | bytes):  # of no order, or no numbers
        given = None
    elif isinstance(given, Iterable) and not hasattr(given, "__array__"):
        given = list(given)
    try:
        array = np.array(given, np.float64)
    except (TypeError, ValueError, OverflowError):  # of text, of rows of unequal lengths
        array = np.array(np.nan)
    if (
        array.ndim != 1
        or not (np.isfinite(array) & (array >= 0)).all()
        or not ((zeros and array.size) or array.any())
    ):
        raise ValueError(
            f"{name} must be one finite number >= 0 per class, at least one above 0, but "
            f"got {_shortened(counts)}; losses.count_classes(targets) counts the samples"
        )
    return array


def _by_class(counts: Mapping[Any, Any], name: str) -> list[Any]:
    """Return the values of a mapping in the order of the classes, its keys."""
    classes = [as_integer(f"a class in {name}", key, 0) for key in counts]
    number = len(set(classes))
    twice = [k for k, n in Counter(classes).items() if n > 1]
    lacking = sorted(set(range(number)) - set(classes))
    if twice or lacking:
        what = f"has {twice[0]} twice" if twice else f"lacks {lacking[0]}"
        raise ValueError(
            f"{name} by class must have the keys 0 .. C-1, each once, but {what}; give an empty "
            "class 0, or take losses.count_classes(targets, num_classes)"
        )
    return [n for _, n in sorted(zip(classes, counts.values(), strict=True), key=lambda p: p[0])]


def _shortened(value: object, longest: int = 80) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= longest else f"{text[:longest]}…"
