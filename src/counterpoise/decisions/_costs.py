"""A cost matrix, read from a file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterpoise.text import listed, one_line

if TYPE_CHECKING:
    import pandas as pd


def read_costs(path: str | Path, class_names: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Return the costs of a rule from a CSV file, a row for each true class.

    The first row names the predicted classes, the first column the true ones, in any order:

        ,healthy,ill
        healthy,0,1
        ill,20,0

    Semicolons between the cells, and then decimal commas, will do as well.

    Args:
        path: the file.
        class_names: of the classes, in their order, (C).

    Returns:
        costs[true][predicted], (C, C), in the order of `class_names`.

    Raises:
        OSError: the file cannot be read.
        ValueError: classes that are missing, unknown or there twice, cells that are no finite
            numbers, or a class whose right answer costs more than a wrong one; in one line.
    """
    import pandas as pd  # takes half a second that other rules do not need

    where, cells = one_line(path), read_csv(path)
    names = [str(name) for name in class_names]
    predicted, true = cells.iloc[0, 1:].tolist(), cells.iloc[1:, 0].tolist()
    for what, found in (("first row", predicted), ("first column", true)):
        count, keys = Counter(found), [name.strip() for name in names]
        for words, wrong in (
            ("lacks", [n for n in keys if n not in count]),
            ("has, though the data have not,", [n for n in count if n not in keys]),
            ("has more than once", [n for n in count if count[n] > 1]),
        ):
            if wrong:
                raise ValueError(
                    f"the {what} of {where} must name every class once, but {words} "
                    f"{listed(map(one_line, wrong))}"
                )
    cells.columns, cells.index = ["", *predicted], ["", *true]
    keys = [name.strip() for name in names]
    table = cells.loc[keys, keys]
    plain = table.map(lambda cell: cell.replace(",", "."))
    costs = plain.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = np.argwhere(~np.isfinite(costs))
    if len(bad):
        i, j = bad[0]
        raise ValueError(
            f"{where} must hold finite numbers, but has {one_line(table.iat[i, j])!r} for true "
            f"{one_line(names[i])}, predicted {one_line(names[j])}"
        )
    if not costs.any():
        raise ValueError(f"{where} must hold a cost that is not 0, but holds none")
    less = np.argwhere(costs < costs.diagonal()[:, None])
    if len(less):
        i, j = less[0]
        raise ValueError(
            f"in {where} the right answer {one_line(names[i])} costs {costs[i, i]:g}, more "
            f"than the wrong {one_line(names[j])} ({costs[i, j]:g}); rows must be "
            "true classes, and columns predicted ones"
        )
    return tuple(map(tuple, costs.tolist()))


def read_csv(path: str | Path) -> "pd.DataFrame":
    """Return the cells of a small CSV file as text, its columns numbered.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no CSV; in one line.
    """
    import pandas as pd

    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            first = file.readline()
        separator = ";" if ";" in first and first.count(";") >= first.count(",") else ","
        cells = pd.read_csv(
            Path(path),
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{one_line(path)} cannot be read as CSV: {one_line(error)}") from None
    return cells.map(str.strip)
