"""Normalized arguments: values as the code expects them."""

import operator
from typing import SupportsIndex


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
