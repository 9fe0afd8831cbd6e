"""Two-way bootstrap over seeds and test samples, for classes with few samples."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from counterpoise.stats._interval import Floats, Interval, check_confidence, quantile_t
from counterpoise.stats._noise_sources import differences

BLOCK = 100  # resamples held in memory at a time


def two_way_bootstrap(
    correct_baseline: npt.ArrayLike,
    correct_other: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    label: int | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a difference of recall with a bootstrap interval for new seeds and new test samples.

    A resample draws the S seeds with replacement, and within each class its n_k test samples with
    replacement, the same ones for both variants and all seeds; its value is the difference of mean
    recall, or of one class's. The bounds are the estimate plus quantiles of the centred resamples.
    This is the multi-bootstrap with two corrections for small numbers, without which the interval
    would be too narrow:

    - the deviation of the drawn seeds is stretched by t(S - 1) / z · √(S / (S - 1)), so that with
      a very large test set the interval is near the paired t interval (Hesterberg 2015);
    - each class gets two samples more, one won and one lost (Bonett and Price 2012), so that eight
      samples without a difference do not prove that there is none.

    The interval is conservative, because the interaction of seed and sample is counted twice.

    Sources: Sellam et al. 2022, arXiv 2106.16163; Hesterberg 2015, arXiv 1411.5279, on bootstraps
    from few values; Bonett and Price 2012, J. Educ. Behav. Stat. 37, 479.

    Args:
        correct_baseline: Whether the baseline is right, [seed, test sample], as for
            `noise_sources`; at least two seeds.
        correct_other: The same of the other variant, on the same seeds and samples.
        targets: True class index of each test sample.
        label: The class whose recall is compared; None for the mean over the classes that occur.
        confidence: Share of studies whose interval holds the true difference.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        The interval, inside [-1, 1].

    Raises:
        ValueError: If the shapes do not fit, an entry is not from 0 to 1, there is one seed only or
            no sample of the class, or confidence is out of its range.

    Example:
        >>> plain = [[1, 1, 0, 1, 0, 0], [1, 1, 1, 1, 0, 1]]
        >>> other = [[1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1]]
        >>> two_way_bootstrap(plain, other, [0, 0, 0, 0, 1, 1], label=1)
        Interval(low=-0.25, estimate=0.5, high=1.0)
    """
    check_confidence(confidence)
    d, labels = differences(correct_baseline, correct_other, targets)
    wanted = np.unique(labels) if label is None else [label]
    by_class = [d[:, labels == k] for k in wanted]
    if len(d) < 2 or not by_class[0].size:
        raise ValueError(
            f"two_way_bootstrap needs two seeds or more and a sample of the class, but got "
            f"{len(d)} seeds and {by_class[0].shape[1]} samples; with one seed see noise_sources"
        )
    rng = np.random.default_rng(seed)
    away = draw_seeds(rng, len(d), resamples, confidence)
    off = np.mean([_draw_samples(rng, part, away) for part in by_class], axis=0)
    estimate = float(np.mean([part.mean() for part in by_class]))
    low, high = estimate + np.quantile(off, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(max(float(low), -1.0), estimate, min(float(high), 1.0))


def draw_seeds(rng: np.random.Generator, seeds: int, resamples: int, confidence: float) -> Floats:
    """Return each resample's weights of the seeds minus uniform weights, (resamples, seeds).

    They are stretched by t(S - 1) / z · √(S / (S - 1)), as in `two_way_bootstrap`; 0 of one seed.
    """
    if seeds < 2:
        return np.zeros((resamples, seeds))
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    stretch = quantile_t(seeds - 1, confidence) / ndtri(0.5 + confidence / 2)
    return (drawn - 1 / seeds) * stretch * np.sqrt(seeds / (seeds - 1))


def _draw_samples(rng: np.random.Generator, d: Floats, away: Floats) -> Floats:
    """Return the centred mean over the drawn samples of one class, per resample."""
    ends = np.broadcast_to([1.0, -1.0], (len(d), 2))
    padded = np.concatenate([d, ends], axis=1)
    drawn = []
    for weights in np.array_split(away, -(-len(away) // BLOCK)):
        values = padded.mean(0) + weights @ padded
        picks = rng.integers(padded.shape[1], size=values.shape)
        drawn.append(np.take_along_axis(values, picks, axis=1).mean(1))
    return np.concatenate(drawn) - padded.mean()
