"""Noise of a difference by source: the seeds and the choice of the test samples."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from counterpoise.stats._interval import Floats

Source = Literal["seeds", "test set"]


@dataclass(frozen=True)
class NoiseSources:
    """Difference of recall, other - baseline, with its standard error from each source.

    Attributes:
        label: the class; None for the mean over the classes.
        n: its number of test samples.
        difference: mean over the seeds.
        test_se: standard error from the finite test set, for these runs.
        seed_se: standard error from the seeds, on this test set; None for one seed.
        classes: the same for every class.
    """

    label: int | None
    n: int
    difference: float
    test_se: float
    seed_se: float | None
    classes: tuple["NoiseSources", ...] = ()

    @property
    def larger(self) -> Source | None:
        """Return the source of the larger standard error; None for one seed."""
        if self.seed_se is None:
            return None
        return "test set" if self.test_se > self.seed_se else "seeds"

    @property
    def total_se(self) -> float | None:
        """Return the standard error for new seeds and a new test set; None for one seed.

        It counts the interaction of the two twice.
        """
        return None if self.seed_se is None else math.hypot(self.test_se, self.seed_se)


def noise_sources(
    correct_baseline: npt.ArrayLike, correct_other: npt.ArrayLike, targets: npt.ArrayLike
) -> NoiseSources:
    r"""Return the standard errors of a difference of balanced accuracy and recall, by source.

    .. math::
        \text{test\_se}_k^2 &= \frac{1}{n_k} \operatorname{Var}_{i \in k}(\bar{d}_i), \qquad
        \text{test\_se}^2 = \frac{1}{C^2} \sum_k \text{test\_se}_k^2 \\
        \text{seed\_se}_k^2 &= \frac{1}{S} \operatorname{Var}_s(D_{sk}), \qquad
        \text{seed\_se}^2 = \frac{1}{S} \operatorname{Var}_s\Big(\frac{1}{C} \sum_k D_{sk}\Big)

    where d_si = correct_other - correct_baseline of seed s and test sample i, its mean over the S
    seeds has a bar, D_sk is its mean over the n_k test samples of class k, and C the number of
    classes: the test set is a stratified sample.

    The paired t interval over seeds is about this test set. Where the test set is the larger
    source, more seeds do not narrow the uncertainty; more test samples would.

    Args:
        correct_baseline: Whether the baseline is right, [seed, test sample], as bool, 0 and 1, or
            shares between.
        correct_other: The same of the other variant, on the same seeds and samples.
        targets: True class index of each test sample.

    Returns:
        The noise of balanced accuracy, with that of each class in `classes`. The variance within a
        class of one sample is unknown and taken as 1, the largest possible.

    Raises:
        ValueError: If the shapes do not fit, or an entry is not from 0 to 1.

    Example:
        >>> plain = [[1, 1, 0, 1, 0, 0], [1, 1, 1, 1, 0, 1]]
        >>> other = [[1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1]]
        >>> found = noise_sources(plain, other, [0, 0, 0, 0, 1, 1])
        >>> round(found.difference, 3), round(found.test_se, 3), round(found.seed_se, 3)
        (0.25, 0.27, 0.125)
        >>> found.larger, found.classes[1].n
        ('test set', 2)
    """
    d, labels = differences(correct_baseline, correct_other, targets)
    classes = tuple(_one_class(d[:, labels == k], int(k)) for k in np.unique(labels))
    each = np.stack([d[:, labels == c.label].mean(1) for c in classes]).mean(0)
    test_se = math.sqrt(sum(c.test_se**2 for c in classes)) / len(classes)
    return NoiseSources(None, labels.size, float(each.mean()), test_se, _seed_se(each), classes)


def _one_class(d: Floats, label: int) -> NoiseSources:
    n = d.shape[1]
    variance = float(d.mean(0).var(ddof=1)) if n > 1 else 1.0
    by_seed = d.mean(1)
    return NoiseSources(label, n, float(by_seed.mean()), math.sqrt(variance / n), _seed_se(by_seed))


def _seed_se(by_seed: Floats) -> float | None:
    return float(by_seed.std(ddof=1)) / math.sqrt(by_seed.size) if by_seed.size > 1 else None


def differences(
    baseline: npt.ArrayLike, other: npt.ArrayLike, targets: npt.ArrayLike
) -> tuple[Floats, np.ndarray]:
    """Return other - baseline [seed, sample] and the targets, or raise ValueError."""
    before, after = np.asarray(baseline, dtype=float), np.asarray(other, dtype=float)
    labels = np.asarray(targets)
    if before.ndim != 2 or before.shape != after.shape or labels.shape != before.shape[1:]:
        raise ValueError(
            "the two arrays of right answers must both be [seed, test sample] with one target a "
            f"sample, but have shapes {before.shape}, {after.shape} and {labels.shape}; stack the "
            "seeds that both variants have"
        )
    both = np.stack([before, after])
    if both.size == 0 or not ((both >= 0) & (both <= 1)).all():
        raise ValueError(
            "right answers must be 1 and wrong ones 0, of at least one seed and sample, but they "
            f"are {both.size} numbers not all from 0 to 1; pass predicted == targets"
        )
    return after - before, labels
