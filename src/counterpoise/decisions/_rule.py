"""The rule by which a class is chosen from probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal["study", "probable", "costs", "thresholds"]
KINDS: tuple[str, ...] = get_args(Kind)
ABSTAINED = -1
_TINY = 1e-300


@dataclass(frozen=True)
class Rule:
    r"""Rule that gives each sample a class, or none, and a set of classes.

    .. math::
        \text{study} &: \arg\max_y s_y \qquad
        \text{probable} : \arg\max_y p_y \qquad
        \text{costs} : \arg\min_j \sum_y p_y \, c_{yj} \\
        \text{thresholds} &: \arg\max_{y : p_y \ge t_y} \frac{p_y}{t_y}, \quad \text{and where no
        class reaches its threshold, } \arg\max_{y \text{ without } t_y} s_y

    with the scores s by which a study's runs were judged (p where none are given), the
    probabilities p, costs c and thresholds t. With a threshold t for one of two classes, it is
    given where its probability is t or more, and the other class elsewhere. Where every class has a
    threshold and none is reached,
    the largest p / t decides; so t and 1 - t for two classes are the same rule as t for one, and
    the same as costs with :math:`t = c_{01} / (c_{01} + c_{10})`.

    No class is given where the largest p is below `abstain` (Chow), and the set of a sample holds
    each class whose p reaches its number in `sets`.

    Thresholds, `abstain` and `sets` belong to the class shares on which they were chosen: give p at
    those, the training data's, wherever the rule is used. A recall, and how often a set holds a
    sample's class, then stay as they are where classes occur more or less often. "costs" and
    "probable" need p at the shares of where they are used.

    Sources: Elkan 2001, "The foundations of cost-sensitive learning", eq. 1 and 2; Chow 1970, "On
    optimum recognition error and reject tradeoff", eq. 1; sets: Sadinle, Lei and Wasserman 2019,
    arXiv 1609.00451, theorem 1.

    Args:
        kind: "study", "probable", "costs" or "thresholds".
        costs: of the kind "costs", c[true][predicted], (C, C).
        thresholds: of the kind "thresholds", one for each class, from 0 to 1, or None for none,
            (C); at least one.
        abstain: from 0 to 1; 0 for always a class.
        sets: one for each class, (C), 0 for a class that is in every set; empty for no sets.

    Raises:
        ValueError: another kind, numbers out of their range, or costs or thresholds that do not go
            with the kind.

    Example:
        >>> import numpy as np
        >>> p = np.array([[0.7, 0.3], [0.9, 0.1]])
        >>> Rule("costs", costs=((0, 1), (5, 0))).decide(p).tolist()  # a missed 1 costs 5
        [1, 0]
        >>> Rule("thresholds", thresholds=(None, 0.3), abstain=0.8).decide(p).tolist()
        [-1, 0]
    """

    kind: Kind = "study"
    costs: tuple[tuple[float, ...], ...] = ()
    thresholds: tuple[float | None, ...] = ()
    abstain: float = 0.0
    sets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, but got {self.kind!r}")
        for name in ("costs", "thresholds"):
            if bool(getattr(self, name)) != (self.kind == name):
                raise ValueError(f'{name} must be given for the kind "{name}", and for no other')
        if (
            any(len(row) != len(self.costs) for row in self.costs)
            or not np.isfinite(np.array(self.costs, np.float64)).all()
        ):
            raise ValueError("costs must be one finite number for each true and predicted class")
        given = [t for t in self.thresholds if t is not None]
        if self.thresholds and not given:
            raise ValueError("thresholds must hold one for a class at least")
        for name, values in (("thresholds", given), ("sets", self.sets)):
            if not all(0 <= t <= 1 for t in values):
                raise ValueError(f"{name} must be from 0 to 1, but got {values}")
        if not 0 <= self.abstain <= 1:
            raise ValueError(f"abstain must be from 0 to 1, but got {self.abstain}")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Rule:
        """Return the rule that `to_json` describes.

        Raises:
            ValueError, TypeError: content that describes none.
        """
        return cls(
            content.get("kind", "study"),
            tuple(tuple(map(float, row)) for row in content.get("costs", ())),
            tuple(None if t is None else float(t) for t in content.get("thresholds", ())),
            float(content.get("abstain", 0.0)),
            tuple(map(float, content.get("sets", ()))),
        )

    def to_json(self) -> dict[str, Any]:
        """Return kind and what is not the default, as JSON has it."""
        found = {k: v for k, v in asdict(self).items() if v or k == "kind"}
        return {k: _listed(v) for k, v in found.items()}

    def decide(self, p: npt.ArrayLike, scores: npt.ArrayLike | None = None) -> Ints:
        """Return the class of each sample, int64 (N); -1 where none is given.

        Args:
            p: probabilities, (N, C).
            scores: of the kinds "study" and "thresholds", the net's own logits or any
                order-preserving function of them, (N, C).

        Raises:
            ValueError: no scores for the kind "study", or another number of classes than it has.
        """
        q = self._checked(p)
        if self.kind == "study":
            if scores is None or np.shape(scores) != q.shape:
                raise ValueError(
                    f'scores must be {q.shape} as p is, for the kind "study", but got '
                    f"{None if scores is None else np.shape(scores)}"
                )
            found = np.asarray(scores).argmax(1)
        elif self.kind == "costs":
            found = (q @ np.array(self.costs)).argmin(1)
        elif self.kind == "thresholds":
            found = self._by_threshold(q, q if scores is None else np.asarray(scores))
        else:
            found = q.argmax(1)
        return np.where(q.max(1) < self.abstain, ABSTAINED, found).astype(np.int64)

    def sets_of(self, p: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return whether each class is in the set of each sample, (N, C); a set may be empty.

        Raises:
            ValueError: a rule without sets, or another number of classes than the rule's.
        """
        if not self.sets:
            raise ValueError("sets must be in the rule; decisions.conformal_thresholds makes them")
        return self._checked(p) >= np.array(self.sets)

    def _checked(self, p: npt.ArrayLike) -> Floats:
        q = np.asarray(p, np.float64)
        sizes = {len(x) for x in (self.costs, self.thresholds, self.sets) if x}
        if q.ndim != 2 or not sizes <= {q.shape[1]}:
            classes = f"(N, {min(sizes)})" if sizes else "(N, C)"
            raise ValueError(f"p must be {classes}, but got {q.shape}")
        return q

    def _by_threshold(self, q: Floats, scores: Floats) -> Ints:
        given = np.array([t is not None for t in self.thresholds])
        least = np.array([t or 0.0 for t in self.thresholds])
        ratio = np.where(given, q / np.maximum(least, _TINY), -1.0)
        reached = given & (q >= least)
        other = ratio if given.all() else np.where(given, -np.inf, scores)
        chosen = np.where(reached, ratio, -1.0)
        return np.where(reached.any(1), chosen.argmax(1), other.argmax(1))


def _listed(value: Any) -> Any:
    return [_listed(x) for x in value] if isinstance(value, tuple) else value
