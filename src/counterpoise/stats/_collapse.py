"""Collapsed runs: those that did not learn."""

import math
from collections.abc import Sequence

GUESSING_SDS = 2.0  # up to this many above chance, a score counts as a guess


def guessing_noise(chance: float, support: Sequence[int]) -> float:
    r"""Return the standard deviation, over test sets, of the score of a net that guesses.

    .. math::
        \frac{1}{C} \sqrt{p (1 - p) \sum_k \frac{1}{n_k}}

    where p is `chance`, n_k the number of test samples of class k, and C the number of classes.

    Args:
        chance: Expected score of a guess: 1 / C for balanced accuracy, the share of the largest
            class for accuracy.
        support: Test samples of each class for balanced accuracy; for accuracy one number, the
            size of the test set, in a list. Classes without samples are left out.

    Returns:
        The standard deviation, for `compare_variants(noise_sd=...)` and `collapsed`.

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
            f"{chance} and {list(support)}; count the test split"
        )
    return math.sqrt(chance * (1 - chance) * sum(1 / n for n in sizes)) / len(sizes)


def collapsed(score: float | None, chance: float, noise_sd: float = 0.0) -> bool:
    r"""Return whether a run did not learn: its score is within the noise of guessing, or below.

    .. math::
        \text{score} \le \text{chance} + 2 \, \text{noise\_sd}

    Args:
        score: Score of the run, higher being better. None (the run failed) is no collapse, NaN (it
            diverged) is one.
        chance: Expected score of a guess.
        noise_sd: From `guessing_noise`. A net that always predicts the same class scores exactly
            `chance`; one that predicts at random is spread around it.

    Returns:
        True if it collapsed.

    Example:
        >>> collapsed(0.104, 0.1, guessing_noise(0.1, [20] * 10)), collapsed(0.6, 0.1)
        (True, False)
    """
    if score is None:
        return False
    return not score > chance + GUESSING_SDS * noise_sd + 1e-9
