"""Runs that did not learn."""

import math
from collections.abc import Sequence

GUESSING_SDS = 2.0  # this many above chance, a score is still taken for a guess


def guessing_noise(chance: float, support: Sequence[int]) -> float:
    """Return the standard deviation, by the test set alone, of the score of a net that guesses.

    With n_k test samples in class k, C classes, and chance p:

        √( p (1 - p) · mean(1 / n_k) / C )

    Args:
        chance: Expected score of a guess: 1 / C for balanced accuracy, the share of the largest
            class for accuracy.
        support: Test samples of each class for balanced accuracy; for accuracy one number, the
            size of the test set, in a list. Classes without samples are left out.

    Returns:
        The standard deviation, for `judge(noise_sd=...)` and `collapsed`.

    Raises:
        ValueError: If chance is not from 0 to 1, or no class has a sample.

    Example:
        >>> round(guessing_noise(0.1, [20] * 10), 4)
        0.0212
    """
    sizes = [n for n in support if n > 0]
    if not (0 <= chance <= 1 and sizes):
        raise ValueError(
            "guessing_noise needs chance from 0 to 1 and a class with test samples, but got "
            f"{chance} and {list(support)}; count the test part"
        )
    return math.sqrt(chance * (1 - chance) * sum(1 / n for n in sizes)) / len(sizes)


def collapsed(score: float | None, chance: float, noise_sd: float = 0.0) -> bool:
    """Tell whether a run did not learn: its score is within the noise of guessing, or below.

        score <= chance + 2 · noise_sd

    Args:
        score: Of the run, where higher is better. None (the run failed) is not a collapse but a
            failure, and NaN is one: it diverged.
        chance: What guessing scores.
        noise_sd: From `guessing_noise`. A net that always answers the same class has exactly
            `chance`, one that answers at random is spread around it.

    Returns:
        Whether it did not learn.

    Example:
        >>> collapsed(0.104, 0.1, guessing_noise(0.1, [20] * 10)), collapsed(0.6, 0.1)
        (True, False)
    """
    if score is None:
        return False
    return not score > chance + GUESSING_SDS * noise_sd + 1e-9
