"""Post-hoc logit adjustment, without torch."""

import numpy as np
import numpy.typing as npt

from counterpoise.arguments import Counts, read_counts


def adjust(logits: npt.ArrayLike, train_counts: Counts, tau: float) -> npt.NDArray[np.floating]:
    r"""Remove the training data's class prior from logits, as `losses.adjust_logits` does.

    .. math::
        \text{adjusted}_j = z_j - \tau \log \pi_j, \qquad \pi_j = \frac{n_j}{\sum_k n_k}

    where z are the logits and n the `train_counts`; NumPy arrays, without torch. An empty class
    counts as the rarest of the others.

    Source: Menon et al. 2021, arXiv 2007.07314, eq. 9.

    Args:
        logits: (N, C), floating.
        train_counts: samples of each class as the training saw them, (C), or by class.
        tau: strength of the adjustment, at least 0; `losses.choose_tau` chooses it on validation
            data.

    Returns:
        New logits, in the shape and dtype of the old ones (the adjustment in float32 or more).

    Raises:
        ValueError: logits that are not floating (N, C), counts that are not one number >= 0 per
            class with one above 0 at least, or a tau that is negative or not finite.

    Example:
        >>> from counterpoise.metrics import adjust
        >>> adjust([[1.0, 0.0]], train_counts=[90, 10], tau=1.0).argmax(1).tolist()
        [1]
    """
    z = check_logits(logits)
    n = check_counts(train_counts, z.shape[1])
    if not 0 <= tau < np.inf:
        raise ValueError(f"tau must be a finite number >= 0, but got {tau}; 0 adjusts nothing")
    n = np.maximum(n, n[n > 0].min())
    shift = -tau * np.log(n / n.sum())
    wide = np.promote_types(z.dtype, np.float32)
    return (z.astype(wide) + shift.astype(wide)).astype(z.dtype)


def check_logits(logits: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Return logits as a floating array (N, C) of finite numbers, or raise ValueError."""
    z = np.asarray(logits)
    if z.ndim != 2 or z.dtype.kind != "f" or z.shape[1] < 2:
        raise ValueError(
            "logits must be floating of shape (N, C) with two classes or more, but got "
            f"{z.dtype} of {z.shape}; pass the net's raw outputs, a row per sample"
        )
    # Beyond float32 differences of logits could overflow in float64.
    outside = np.argwhere(~(np.abs(z) <= np.finfo(np.float32).max))
    if len(outside):
        i, j = outside[0].tolist()
        raise ValueError(
            f"logits must be finite float32 numbers, but logits[{i}, {j}] is {z[i, j]} and "
            f"{len(outside)} of {z.size} are not; a net that answers so has diverged: train it "
            "with a lower learning rate"
        )
    return z


def check_counts(counts: Counts, num_classes: int, zeros: bool = False) -> npt.NDArray[np.float64]:
    """Return the training samples per class as float64, or raise ValueError."""
    n = read_counts(counts, "train_counts", zeros=zeros)
    if len(n) != num_classes:
        raise ValueError(
            f"train_counts must be one number for each of the {num_classes} classes of the logits, "
            f"but got {len(n)} numbers; count the targets of the training split"
        )
    return n
