"""Classical models as variants of a study: scikit-learn's, imbalanced-learn's, and your own.

Each is a classifier with scikit-learn's interface: made with its settings, `fit`, `predict_proba`.
A new one is a function here from settings to such a classifier, and one row in
`counterpoise/registry.py`, which also has the hyperparameter that is tuned and the values tried.
What the row does not name stays as the library has it.

Images are averaged down to `SIDE` pixels a side (of 8, 12, 16 and 20 the last two do best on
FashionMNIST, and 16 takes half the time).
"""

import inspect
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from counterpoise import registry
from counterpoise.registry import unknown
from counterpoise.user_code import raised

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from torch import Tensor

    class Samples(Protocol):
        """Samples in a tensor, or in a file: `data.Rows`."""

        @property
        def shape(self) -> Sequence[int]: ...  # noqa: D102

        def __getitem__(self, index: Tensor, /) -> Tensor: ...


SIDE = 16
_BLOCK = 2**21  # values of images that are averaged at a time
_FLOOR = 1e-6  # of a probability, so that its logarithm is finite
_RANDOM = re.compile("(^|__)random_state$")
_WEIGHT = re.compile("(^|__)class_weight$")
_EQUAL = ("all", "auto", "not minority")  # after them, classes are of one size
_STEPS = 1000  # of logistic regression, at most
KEPT = frozenset(  # types that these models hold and skops does not know
    (
        "imblearn.ensemble._forest.BalancedRandomForestClassifier",
        "imblearn.ensemble._weight_boosting.RUSBoostClassifier",
        "imblearn.pipeline.Pipeline",
        "imblearn.under_sampling._prototype_selection._random_under_sampler.RandomUnderSampler",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    )
)


def logistic_regression(**settings: Any) -> Any:
    """Return logistic regression on standardized features, of 1,000 steps at most."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings.setdefault("max_iter", _STEPS)
    return make_pipeline(StandardScaler(), LogisticRegression(**settings))


def hist_gradient_boosting(**settings: Any) -> Any:
    """Return gradient boosting on histograms."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(**settings)


def random_forest(**settings: Any) -> Any:
    """Return a random forest."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(**settings)


def balanced_random_forest(**settings: Any) -> Any:
    """Return a random forest whose trees see as many samples of every class (Chen et al. 2004)."""
    from imblearn.ensemble import BalancedRandomForestClassifier

    usual = {"sampling_strategy": "all", "replacement": True, "bootstrap": False}
    return BalancedRandomForestClassifier(**{**usual, **settings})


def rus_boost(**settings: Any) -> Any:
    """Return AdaBoost on random samples of equally large classes (Seiffert et al. 2010)."""
    from imblearn.ensemble import RUSBoostClassifier

    return RUSBoostClassifier(**settings)


def make(word: str, settings: Mapping[str, Any], seed: int = 0) -> Any:
    """Return an unfitted classifier.

    Args:
        word: a key of `registry.CLASSICAL`, or the `package.module:name` of a class or function
            that is called with the settings and returns a classifier, or of an unfitted classifier,
            which is cloned.
        settings: its hyperparameters.
        seed: becomes each `random_state` that is None, those within a pipeline, too.

    Raises:
        ValueError: a setting that there is none of, with the nearest; what has no `fit` and
            `predict_proba`.

    Example:
        >>> make("random_forest", {"min_samples_leaf": 3}).min_samples_leaf
        3
    """
    from sklearn.base import clone  # only here, as it takes a second

    known = {name: row.load for name, row in registry.CLASSICAL.items()}
    found: Any = (
        known[word]() if word in known else registry.resolve("classical model", word, known)
    )
    ready = hasattr(found, "fit") and not inspect.isclass(found)
    if not ready and not callable(found):
        raise ValueError(
            f"classical model {word!r} must be a class or function that makes a classifier, but is "
            f"a {type(found).__name__}"
        )

    def build(**given: Any) -> Any:
        model: Any = clone(cast("BaseEstimator", found)) if ready else found(**given)
        return model.set_params(**given) if ready else model

    model = _built(word, build, dict(settings))
    for name in ("fit", "predict_proba"):
        if not callable(getattr(model, name, None)):
            raise ValueError(
                f"classical model {word!r} must have fit and predict_proba, as scikit-learn's "
                f"classifiers, but a {type(model).__name__} has no {name}"
            )
    if hasattr(model, "get_params"):
        draws = {k for k, v in model.get_params().items() if v is None and _RANDOM.search(k)}
        model.set_params(**dict.fromkeys(draws, seed % 2**32))
    return model


def _built(word: str, build: Callable[..., Any], settings: dict[str, Any]) -> Any:
    """Make a classifier, and refuse settings that it has not, with the nearest that it has."""
    try:
        return build(**settings)
    except Exception as error:  # of a user's class any
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                names = {k.rpartition("__")[2] for k in build().get_params()}
            except Exception:
                names = set()
        for key in settings.keys() - names if names else ():
            raise ValueError(unknown(f"a setting of {word}", key, sorted(names))) from error
        raise ValueError(
            f"classical model {word!r} must be made with the settings {settings}, but "
            f"{raised(error)}"
        ) from error


def fit(model: Any, inputs: "Samples", targets: "Tensor") -> None:
    """Fit a classifier in one thread, without its warnings: what it can reach is judged.

    Args:
        model: of `make`.
        inputs: (N, ...), uint8 or floating.
        targets: class numbers, (N).
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(features(inputs), targets.numpy())


def class_weights(model: Any, counts: Sequence[int]) -> tuple[float, ...]:
    r"""Return the weights that a classifier gives the classes, as scikit-learn makes them.

    .. math:: w_c = N / (C n_c)

    for `class_weight="balanced"`, and as well for ensembles of imbalanced-learn, each of whose
    members is fitted on as many samples of every class.

    Args:
        model: of `make`, fitted or not.
        counts: samples of each class that it is fitted on, (C).

    Returns:
        (C), 1 for a class without a sample; empty where the model weighs all classes alike, or
        leaves one out by a weight of 0.

    Example:
        >>> class_weights(make("logistic_regression", {"class_weight": "balanced"}), [6, 2])
        (0.6666666666666666, 2.0)
    """
    settings = model.get_params() if hasattr(model, "get_params") else {}
    n = np.asarray(counts)
    there = n > 0
    balanced = np.where(there, n.sum() / (there.sum() * np.maximum(n, 1)), 1.0)
    weights = np.ones(len(n))
    names = (k for k, v in settings.items() if _WEIGHT.search(k) and v is not None)
    given = settings.get(min(names, key=len, default=""))
    if isinstance(given, dict):
        weights = np.array([float(given.get(c, 1)) for c in range(len(n))])
    elif given in ("balanced", "balanced_subsample"):
        weights = balanced
    if settings.get("sampling_strategy") in _EQUAL:
        weights = weights * balanced
    return tuple(weights.tolist()) if np.ptp(weights) > 0 and weights.min() > 0 else ()


def log_probabilities(model: Any, inputs: "Samples", num_classes: int) -> np.ndarray:
    """Return log p of every sample and class of a fitted classifier, float32 (N, C).

    A class without a training sample gets a probability near 0.

    Raises:
        ValueError: probabilities of another shape, or that are not finite.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = np.asarray(model.predict_proba(features(inputs)))
    classes = np.asarray(getattr(model, "classes_", range(num_classes)), np.int64)
    if found.shape != (inputs.shape[0], len(classes)) or not np.isfinite(found).all():
        raise ValueError(
            "predict_proba must return finite probabilities of shape "
            f"{(inputs.shape[0], len(classes))}, but returns {found.shape}"
        )
    p = np.zeros((len(found), num_classes))
    p[:, classes] = found
    return np.log(np.maximum(p, _FLOOR)).astype(np.float32)


def features(inputs: "Samples", index: "Tensor | None" = None) -> np.ndarray:
    """Return samples as rows of float32; images averaged down to `SIDE` pixels a side.

    Args:
        inputs: (N, ...).
        index: of the samples; None for all.

    Example:
        >>> import torch
        >>> features(torch.zeros(2, 3, 64, 64)).shape, features(torch.zeros(2, 1, 8, 8)).shape
        ((2, 768), (2, 64))
    """
    import torch

    shape = tuple(inputs.shape)
    index = torch.arange(shape[0]) if index is None else index
    if len(shape) != 4:
        return inputs[index].flatten(1).float().numpy()
    size = min(SIDE, shape[2]), min(SIDE, shape[3])
    # Not a list of blocks: what is kept between large blocks would break up the memory.
    rows = torch.empty(len(index), shape[1] * size[0] * size[1])
    block = max(1, _BLOCK // math.prod(shape[1:]))
    for some, out in zip(index.split(block), rows.split(block), strict=True):
        images = inputs[some].float()
        out.copy_(torch.nn.functional.adaptive_avg_pool2d(images, size).flatten(1))
    return rows.numpy()
