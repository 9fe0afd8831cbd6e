"""A metric of a study alone: of a positive class, with a parameter, with costs, or a user's."""

from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from counterpoise import registry
from counterpoise.arguments import Counts, read_counts
from counterpoise.metrics._probabilities import log_softmax
from counterpoise.user_code import import_name


@dataclass(frozen=True)
class Measure:
    """Metric that needs more than predictions: called with targets (N,) and logits (N, C).

    Of two classes, "f1", "f_beta:B", "recall_at_precision:P", "auroc" and "average_precision" are
    scikit-learn's of the positive class; "expected_cost" is the mean of costs[true][predicted]; a
    `module:name` is called with targets, int64 (N,), and probabilities, float64 (N, C), the softmax
    of the logits. The predicted class is that of the highest logit. NaN where it is not defined.

    Args:
        word: as `registry.metric` takes it.
        positive: index of the positive class.
        costs: costs[true][predicted], (C, C).
        higher_is_better: False for costs, and for functions that say so.

    Raises:
        ValueError: on a call, a function of the user's that gives no number.

    Example:
        >>> import numpy as np
        >>> logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> Measure("expected_cost", costs=((0, 6), (1, 0)))([0, 0, 1], logits)
        2.0
        >>> Measure("recall_at_precision:0.9", positive=1)([0, 0, 1], logits)
        1.0
    """

    word: str
    positive: int = 0
    costs: tuple[tuple[float, ...], ...] = ()
    higher_is_better: bool = True

    @property
    def key(self) -> str:
        """The entry of the scores that it is kept as."""
        return registry.metric(self.word, True).key

    @property
    def own(self) -> bool:
        """True for a function of the user's own."""
        return ":" in self.word and not registry.metric(self.word, True).bounds

    def __call__(self, targets: npt.ArrayLike, logits: npt.ArrayLike) -> float:
        t, z = np.asarray(targets, np.int64), np.asarray(logits)
        name = self.word.partition(":")[0]
        if name == "expected_cost":
            return float(np.asarray(self.costs, np.float64)[t, z.argmax(1)].mean())
        log_p = log_softmax(z)
        if name not in _OF_POSITIVE:
            found = import_name("metric", self.word)(t, np.exp(log_p))
            if not isinstance(found, Real):
                raise ValueError(
                    f"metric {self.word!r} must give a number, but gave a {type(found).__name__}; "
                    "return a float"
                )
            return float(found)
        y = t == self.positive
        if y.all() or not y.any():
            return float("nan")
        value = registry.parameter_of(self.word)
        return _OF_POSITIVE[name](y, z.argmax(1) == self.positive, log_p[:, self.positive], value)

    def to_json(self) -> dict[str, Any]:
        """Return it as mappings, lists, texts and numbers."""
        return asdict(self) | {"costs": [list(row) for row in self.costs]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Measure":
        """Return what `to_json` was made of."""
        return cls(**content | {"costs": tuple(map(tuple, content["costs"]))})


def _f_beta(y: Any, answer: Any, score: Any, beta: float | None) -> float:
    from sklearn.metrics import fbeta_score

    return float(fbeta_score(y, answer, beta=beta or 1.0, zero_division=0))


def _recall_at_precision(y: Any, answer: Any, score: Any, least: float | None) -> float:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(y, score)
    return float(recall[precision >= (least or 0.0)].max())  # it ends with recall 0, precision 1


def _auroc(y: Any, answer: Any, score: Any, _: float | None) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, score))


def _average_precision(y: Any, answer: Any, score: Any, _: float | None) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(y, score))


_OF_POSITIVE = {
    "f1": _f_beta,
    "f_beta": _f_beta,
    "recall_at_precision": _recall_at_precision,
    "auroc": _auroc,
    "average_precision": _average_precision,
}


def rarer_class(counts: Counts) -> int:
    """Return the positive one of two classes: the rarer one, the second of equal ones.

    Example:
        >>> rarer_class([900, 30]), rarer_class([30, 900]), rarer_class([5, 5])
        (1, 0, 1)
    """
    first, second = read_counts(counts, "counts")
    return int(second <= first)


def least_constant_cost(costs: npt.ArrayLike, counts: Counts) -> float:
    """Return the mean cost of the answer that costs least, if it is always the same.

    Args:
        costs: costs[true][predicted], (C, C).
        counts: samples of each class, (C).

    Example:
        >>> least_constant_cost([[0, 1], [20, 0]], [90, 10])
        0.9
    """
    n = read_counts(counts, "counts")
    return float((n / n.sum() @ np.asarray(costs, np.float64)).min())
