"""The section on confusion: matrices, their differences, and misclassified samples."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from counterpoise.report import _matrix
from counterpoise.report._numbers import whole_percent
from counterpoise.report._thumbnails import Thumbnail, misclassified
from counterpoise.report._variants import Entry
from counterpoise.stats import Verdict
from counterpoise.study import Study

_WORST = 8  # pairs of classes in the table of the most frequent confusions
_MOST_CELLS = 12_000  # of all difference matrices: of more, those to the baseline remain


def section(
    study: Study, variants: Sequence[Entry], verdicts: Sequence[Verdict]
) -> dict[str, object] | None:
    """Return the contents of the section; None without a finished run."""
    ran = [v for v in variants if v.records]
    if not ran:
        return None
    classes, names = _matrix.choose_classes(study), study.data["class_names"]
    every = {v.index: {r.seed: _matrix.cells_of(r) for r in v.records} for v in ran}
    total = [np.concatenate(list(cells.values())) for cells in every.values()]
    pairs = _matrix.worst_pairs(total, len(names))
    folded = {v: {s: classes.fold(c) for s, c in cells.items()} for v, cells in every.items()}
    shown = pairs[np.isin(pairs, classes.order).all(1)]
    galleries = misclassified(study, list(map(tuple, shown.tolist())))
    links = set(galleries)
    cells = len(classes.names) ** 2
    return {
        "matrices": [_matrix.matrix(v, found, classes, links) for v, found in folded.items()],
        "upright": any(len(name) > 3 for name in classes.names),
        "variants": ran,
        "worst": [_worst(total, i, j, names) for i, j in pairs[:_WORST].tolist()],
        "differences": _differences(ran, folded, verdicts, classes, study.test_to_train),
        "galleries": [_gallery(id, samples, names) for id, samples in galleries.items()],
        "cells": cells,
        "by_chance": max(1, round(0.05 * cells)),
    }


def _worst(total: Sequence[np.ndarray], i: int, j: int, names: Sequence[str]) -> dict[str, object]:
    cells = [whole_percent(_matrix.share_of(c, i, j)) for c in total]
    return {"true": names[i], "answer": names[j], "cells": cells}


def _differences(
    ran: Sequence[Entry],
    folded: Mapping[int, _matrix.Folded],
    verdicts: Sequence[Verdict],
    classes: _matrix.Classes,
    test_to_train: float,
) -> list[_matrix.Matrix]:
    """Return the difference matrices of all pairs, those to the baseline first by gain."""
    gain = {v.variant: v.interval.estimate for v in verdicts if v.interval}
    pairs = list(combinations(ran, 2))
    if len(pairs) * len(classes.names) ** 2 > _MOST_CELLS:
        pairs = pairs[: len(ran) - 1]
    pairs.sort(key=lambda p: (p[0].index, -gain.get(p[1].label, 0.0) if not p[0].index else 0))
    indices = [(one.index, other.index) for one, other in pairs]
    found = [
        _matrix.difference((i, j), folded[i], folded[j], classes, test_to_train) for i, j in indices
    ]
    return [m for m in found if m is not None]


def _gallery(id: str, samples: Sequence[Thumbnail], names: Sequence[str]) -> dict[str, object]:
    true, answer = (int(k) for k in id.split("-")[1:])
    return {"id": id, "true": names[true], "answer": names[answer], "samples": samples}
