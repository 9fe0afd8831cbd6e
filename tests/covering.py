"""Selections of a grid of cases, for tests whose parameters multiply."""

import itertools
from collections.abc import Iterable

import pytest


def every_pair(*, indirect: bool | list[str] = False, **values: Iterable) -> pytest.MarkDecorator:
    """Parametrize with so many cases of the grid that any two values meet in one of them.

    A fault hangs on one value or on two together, nearly always: 7 shapes, 4 reductions and 3
    dtypes are 84 cases, of which 28 have every pair.
    """
    axes = [list(some) for some in values.values()]
    places = itertools.product(*(range(len(axis)) for axis in axes))
    pairs = {case: set(itertools.combinations(enumerate(case), 2)) for case in places}
    missing, rows = set().union(*pairs.values()), []
    while missing:
        case = max(pairs, key=lambda case: len(pairs[case] & missing))  # the first of equals
        missing -= pairs.pop(case)
        rows.append([axis[place] for axis, place in zip(axes, case, strict=True)])
    return _cases(values, rows, indirect)


def in_turn(*, indirect: bool | list[str] = False, **values: Iterable) -> pytest.MarkDecorator:
    """Parametrize with as many cases as the longest has values; the others take turns."""
    axes = [list(some) for some in values.values()]
    turns = zip(*map(itertools.cycle, axes), strict=True)
    rows = list(itertools.islice(turns, max(map(len, axes))))
    return _cases(values, rows, indirect)


def _cases(names: Iterable[str], rows: list, indirect: bool | list[str]) -> pytest.MarkDecorator:
    ids = ["-".join(ascii(getattr(value, "__name__", value)) for value in row) for row in rows]
    ids = [text.replace("'", "") for text in ids]
    return pytest.mark.parametrize(list(names), rows, ids=ids, indirect=indirect)
