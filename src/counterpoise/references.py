"""Classical models beside the nets of a study: what a net must beat to be worth its hours.

Each is a classifier of scikit-learn or imbalanced-learn with balanced classes and a fixed budget of
seconds; nothing is tuned. A new one is a function here from seed, number of features and number of
classes to such a classifier, and one row in `counterpoise/registry.py`.

They are fitted on `MOST_SAMPLES` training samples at most, of which no rare one is left out: the
larger classes are cut to one size, at random by the seed. Images are averaged down to `SIDE` pixels
a side (of 8, 12, 16 and 20 the last two do best on FashionMNIST, and 16 takes half the time).
"""

import warnings

import numpy as np
import torch
from imblearn.ensemble import BalancedRandomForestClassifier
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from counterpoise import registry

MOST_SAMPLES, SIDE = 10_000, 16
_BLOCK = 2**21  # values of images that are averaged at a time
_TREES = 100
_SPLITS = 100_000  # of boosting: features times trees
_FLOOR = 1e-6  # of a probability, so that its logarithm is finite


def logistic_regression(seed: int, features: int, classes: int) -> BaseEstimator:
    """Return logistic regression on standardized features."""
    return _logistic(1.0, classes)


def logistic_regression_on_pixels(seed: int, features: int, classes: int) -> BaseEstimator:
    """Return logistic regression on standardized pixels, which are many: regularized more.

    Its C was the best for 1,500 to 10,000 images of FashionMNIST and digits together.
    """
    return _logistic(0.03, classes)


def _logistic(c: float, classes: int) -> BaseEstimator:
    steps = max(20, min(200, 10_000 // classes))
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=steps)
    return make_pipeline(StandardScaler(), model)


def gradient_boosting(seed: int, features: int, classes: int) -> BaseEstimator:
    """Return gradient boosting on histograms, of 100 rounds; of fewer where they are dear."""
    trees = classes if classes > 2 else 1  # a round
    rounds = max(10, min(100, _SPLITS // (features * trees)))
    return HistGradientBoostingClassifier(
        max_iter=rounds, class_weight="balanced", early_stopping=False, random_state=seed
    )


def balanced_random_forest(seed: int, features: int, classes: int) -> BaseEstimator:
    """Return a random forest whose trees see as many samples of every class (Chen et al. 2004)."""
    return BalancedRandomForestClassifier(
        _TREES, sampling_strategy="all", replacement=True, bootstrap=False, random_state=seed
    )


def always_the_largest_class(seed: int, features: int, classes: int) -> BaseEstimator:
    """Return the classifier that knows the class sizes and nothing else."""
    return DummyClassifier(strategy="prior")


class Reference:
    """A classical model, fitted on a training split.

    Args:
        word: a key of `registry.REFERENCES`.
        inputs: (N, ...), uint8 or floating.
        targets: class numbers, (N).
        num_classes: of the data; a class without a training sample gets a probability near 0.
        seed: which samples are left out of more than `MOST_SAMPLES`, and what the model draws.

    Attributes:
        model: the fitted classifier.
        seen_counts: training samples of each class that it was fitted on, int64 (C).

    Example:
        >>> import torch
        >>> inputs, targets = torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([0, 0, 1])
        >>> found = Reference("logistic_regression", inputs, targets, num_classes=2, seed=0)
        >>> found.log_probabilities(torch.tensor([[0.5], [8.0]])).argmax(1).tolist()
        [0, 1]
    """

    def __init__(
        self, word: str, inputs: Tensor, targets: Tensor, num_classes: int, seed: int
    ) -> None:
        chosen = torch.from_numpy(choose_samples(targets.numpy(), num_classes, seed))
        x, y = features(inputs, chosen), targets[chosen].numpy()
        self.num_classes = num_classes
        self.seen_counts = torch.bincount(targets[chosen], minlength=num_classes)
        self.model = registry.REFERENCES[word].load()(seed % 2**32, x.shape[1], num_classes)
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the budget is fixed
            self.model.fit(x, y)

    def log_probabilities(self, inputs: Tensor) -> np.ndarray:
        """Return log p of every sample and class, float32 (N, C)."""
        with threadpool_limits(1):
            found = self.model.predict_proba(features(inputs))
        p = np.zeros((len(inputs), self.num_classes))
        p[:, self.model.classes_] = found
        return np.log(np.maximum(p, _FLOOR)).astype(np.float32)


def features(inputs: Tensor, index: Tensor | None = None) -> np.ndarray:
    """Return samples as rows of float32; images averaged down to `SIDE` pixels a side.

    Args:
        inputs: (N, ...).
        index: of the samples; None for all.

    Example:
        >>> import torch
        >>> features(torch.zeros(2, 3, 64, 64)).shape, features(torch.zeros(2, 1, 8, 8)).shape
        ((2, 768), (2, 64))
    """
    index = torch.arange(len(inputs)) if index is None else index
    if inputs.dim() != 4:
        return inputs[index].flatten(1).float().numpy()
    size = min(SIDE, inputs.shape[2]), min(SIDE, inputs.shape[3])
    # Not a list of blocks: what is kept between large blocks would break up the memory.
    rows = torch.empty(len(index), inputs.shape[1] * size[0] * size[1])
    block = max(1, _BLOCK // inputs.shape[1:].numel())
    for some, out in zip(index.split(block), rows.split(block), strict=True):
        images = inputs[some].float()
        out.copy_(torch.nn.functional.adaptive_avg_pool2d(images, size).flatten(1))
    return rows.numpy()


def choose_samples(targets: np.ndarray, num_classes: int, seed: int) -> np.ndarray:
    """Return the indices of `MOST_SAMPLES` samples at most, in order; the larger classes are cut.

    Example:
        >>> import numpy as np
        >>> targets = np.repeat([0, 1, 2], [30_000, 20_000, 50])
        >>> np.bincount(targets[choose_samples(targets, 3, seed=0)]).tolist()
        [4975, 4975, 50]
    """
    counts = np.bincount(targets, minlength=num_classes)
    if len(targets) <= MOST_SAMPLES:
        return np.arange(len(targets))
    fits = (n for n in range(MOST_SAMPLES) if np.minimum(counts, n + 1).sum() <= MOST_SAMPLES)
    most = 1 + max(fits, default=0)
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(np.flatnonzero(targets == k))[:most] for k in range(num_classes)]
    return np.sort(np.concatenate(kept))
