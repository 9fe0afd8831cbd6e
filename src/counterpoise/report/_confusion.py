"""The section on confusion: all matrices, their differences, and the samples behind the cells."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from counterpoise.report import _matrix
from counterpoise.report._numbers import whole_percent
from counterpoise.report._thumbnails import misclassified
from counterpoise.report._variants import Entry
from counterpoise.stats import Verdict
from counterpoise.study import Study

_MOST_CELLS = 12_000  # of all difference matrices: of more, those to the baseline remain


def section(
    study: Study, variants: Sequence[Entry], verdicts: Sequence[Verdict]
) -> dict[str, Any] | None:
    """Return what the section shows; None without a finished run."""
    ran = [v for v in variants if v.records]
    if not ran:
        return None
    classes, names = _matrix.choose_classes(study), study.data["class_names"]
    total = np.array([_matrix.confusions(v.records).sum(0) for v in ran])
    pairs = _matrix.worst_pairs(total, len(names) ** 2)
    galleries = misclassified(study, [p for p in pairs if set(p) <= set(classes.order)])
    links = set(galleries)
    cells = len(classes.names) ** 2
    return {
        "matrices": [_matrix.matrix(v.place, v.records, classes, links) for v in ran],
        "upright": any(len(name) > 3 for name in classes.names),
        "variants": ran,
        "worst": [_worst(total, i, j, names) for i, j in _matrix.worst_pairs(total)],
        "differences": _differences(ran, verdicts, classes, cells),
        "galleries": [_gallery(id, samples, names) for id, samples in galleries.items()],
        "cells": cells,
        "by_chance": max(1, round(0.05 * cells)),
    }


def _worst(total: np.ndarray, i: int, j: int, names: Sequence[str]) -> dict[str, Any]:
    shares = total[:, i, j] / np.maximum(total[:, i].sum(1), 1)
    return {"true": names[i], "answer": names[j], "cells": [whole_percent(s) for s in shares]}


def _differences(
    ran: Sequence[Entry], verdicts: Sequence[Verdict], classes: _matrix.Classes, cells: int
) -> list[_matrix.Matrix]:
    """Return the differences of any two, the one to the baseline that matters most first."""
    gain = {v.variant: v.interval.estimate for v in verdicts if v.interval}
    pairs = list(combinations(ran, 2))
    if len(pairs) * cells > _MOST_CELLS:
        pairs = pairs[: len(ran) - 1]
    pairs.sort(key=lambda p: (p[0].place, -gain.get(p[1].label, 0.0) if not p[0].place else 0))
    found = [_matrix.difference(one, other, classes) for one, other in pairs]
    return [m for m in found if m is not None]


def _gallery(id: str, samples: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    true, answer = (int(k) for k in id.split("-")[1:])
    return {"id": id, "true": names[true], "answer": names[answer], "samples": samples}
