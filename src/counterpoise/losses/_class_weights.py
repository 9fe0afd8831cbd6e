"""Class counts, and class weights computed from them."""

import math
from typing import Unpack

import torch

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import (
    Counts,
    Focusing,
    Reducing,
    as_counts,
    by_default,
    count_vector,
)
from counterpoise.losses._focal import FocalLoss


def inverse_weights(counts: Counts) -> torch.Tensor:
    r"""Weigh every class by the inverse of its share, so that all classes weigh the same in sum.

    .. math::
        w_j = \frac{N}{C \, n_j}, \qquad N = \sum_k n_k

    The mean over the samples is 1 (over the classes it is more). An empty class gets the weight of
    the rarest of the others and changes nothing for them: N and C count the classes that occur.

    Source: scikit-learn's `class_weight="balanced"`, after King and Zeng 2001, Logistic Regression
    in Rare Events Data.

    Args:
        counts: samples of each class, (C), whole or not; at least one above 0.

    Returns:
        (C), computed in float64, in the default dtype.

    Raises:
        ValueError: counts that are negative, not finite, all 0 or not of one dimension.

    Example:
        >>> from counterpoise.losses import inverse_weights
        >>> inverse_weights([1, 3])
        tensor([2.0000, 0.6667])
    """
    n, occurs = _read(counts)
    return by_default(n[occurs].mean() / n)


def effective_number_weights(counts: Counts, beta: float = 0.9999) -> torch.Tensor:
    r"""Weigh every class by the inverse of its effective number of samples.

    .. math::
        w_j = c \, \frac{1 - \beta}{1 - \beta^{n_j}}

    with c such that the mean over the classes is 1. beta = 0 weighs all classes alike, beta -> 1 as
    1 / counts. Keep it near 1: where counts are far above 1 / (1 - beta), beta^counts is 0 and all
    weights are equal. An empty class gets the weight of the rarest of the others and changes
    nothing for them: the mean is over the classes that occur. Computed as
    -expm1(counts * log(beta)), which is exact for beta near 1 as well.

    Source: Cui et al. 2019, arXiv 1901.05555, section 4.

    Args:
        counts: samples of each class, (C), whole or not; at least one above 0.
        beta: at least 0 and below 1; the paper takes 0.9 to 0.9999.

    Returns:
        (C), computed in float64, in the default dtype.

    Raises:
        ValueError: counts that are negative, not finite, all 0 or not of one dimension, or beta
            out of range.

    Example:
        >>> from counterpoise.losses import effective_number_weights
        >>> effective_number_weights([10, 1000], beta=0.999)
        tensor([1.9690, 0.0310])
    """
    if not 0 <= beta < 1:
        raise ValueError(
            f"beta must be at least 0 and below 1, but got {beta}; the limit 1 is inverse_weights"
        )
    n, occurs = _read(counts)
    # The logarithm of the beta given is right to the last digit; 1 - beta^n would not be.
    weight = -1 / torch.expm1(n * (math.log(beta) if beta else -math.inf))
    return by_default(weight / weight[occurs].mean())


def median_frequency_weights(counts: Counts) -> torch.Tensor:
    r"""Weigh every class by how much rarer it is than the median class.

    .. math::
        w_j = \frac{\text{median}(n)}{n_j}

    with the mean of the two middle counts for an even number of classes. An empty class gets the
    weight of the rarest of the others and changes nothing for them: the median is of the classes
    that occur. For dense targets the paper first divides a class's pixels by those of the images
    that hold the class; give these shares as `counts` to weigh as it does.

    Source: Eigen and Fergus 2015, arXiv 1411.4734, the section on semantic labels.

    Args:
        counts: samples (or pixels) of each class, (C), whole or not; at least one above 0.

    Returns:
        (C), computed in float64, in the default dtype.

    Raises:
        ValueError: counts that are negative, not finite, all 0 or not of one dimension.

    Example:
        >>> from counterpoise.losses import median_frequency_weights
        >>> median_frequency_weights([1, 2, 8])
        tensor([2.0000, 1.0000, 0.2500])
    """
    n, occurs = _read(counts)
    return by_default(n[occurs].quantile(0.5) / n)


def _read(counts: Counts) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the counts in float64, empty classes as the rarest of the others, and which occur."""
    return as_counts(counts), count_vector(counts) > 0


def weighted_cross_entropy(
    counts: Counts, **settings: Unpack[Focusing]
) -> AdjustedCrossEntropyLoss:
    """Return cross entropy with inverse class weights; settings as `AdjustedCrossEntropyLoss`'s."""
    return AdjustedCrossEntropyLoss(weight=inverse_weights(counts), **settings)


def weighted_focal_loss(
    counts: Counts, gamma: float = 2.0, **settings: Unpack[Reducing]
) -> FocalLoss:
    """Return the focal loss with inverse class weights; settings as `FocalLoss`'s."""
    return FocalLoss(gamma, alpha=inverse_weights(counts), **settings)
