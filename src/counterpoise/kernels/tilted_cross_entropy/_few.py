"""A few thousand logits on a CPU, where calling operators is all the time there is.

The formula of `_piece.py` through numpy, which takes a third of torch's time to be called; in
float64, which costs nothing here.
"""

from functools import lru_cache

import numpy as np
import torch

from counterpoise.kernels.tilted_cross_entropy._piece import FEW_CLASSES
from counterpoise.kernels.tilted_cross_entropy._samples import MEANS, Samples, guarded
from counterpoise.kernels.tilted_cross_entropy._tilt import Tilt

FEW = 1 << 15
NUMPYS = {torch.float32: np.float32, torch.float64: np.float64}
TINY = {dtype: np.finfo(dtype).tiny for dtype in (np.float32, np.float64)}
LIMIT = {np.float32: 1e31, np.float64: 1e290}  # above, a probability is denormal

Normalizer = torch.Tensor | float | None


def loss_and_slopes(
    z: torch.Tensor, samples: Samples, tilt: Tilt, reduction: str, normalizer: Normalizer
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The loss and its slopes by logit, z (N, C); None where logits are too far apart, or NaN."""
    a = _tilted(z, tilt)
    numbers, mass, counted = _weighed(samples, *a.shape)
    if normalizer is None and reduction in MEANS:
        normalizer = np.add.reduce(mass) if reduction == "mean" else counted
    divisor, nothing = guarded(None if normalizer is None else float(normalizer))
    place = _starts(*a.shape) + numbers
    with np.errstate(all="ignore"):
        e, total, odds = _odds(a, numbers, place, tilt)
        kind = e.dtype.type
        if not np.maximum.reduce(odds) < LIMIT[kind]:
            return None
        loss, slope = _bent(odds, mass / divisor, tilt)
        e *= (slope / np.maximum(total, TINY[kind])).astype(kind, copy=False)[:, None]
        e.put(place, -slope)
        if tilt.scale is not None:
            e *= _array(tilt.scale)
    return _tensor(loss if reduction == "none" else np.add.reduce(loss) + nothing, z), _tensor(e, z)


def _odds(
    a: np.ndarray, numbers: np.ndarray, place: np.ndarray, tilt: Tilt
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The others' exponentials, their sums, and the odds against the target."""
    if a.shape[1] > FEW_CLASSES and a.dtype == np.float32 and tilt.margin is None:
        e = torch.softmax(torch.from_numpy(a), 1).numpy()
        p_t = e.take(place)
        e.put(place, 0)
        total = e @ np.ones(e.shape[1], e.dtype)
        return e, total, total.astype(np.float64) / p_t
    a_t = a.take(place).astype(np.float64)
    if tilt.margin is not None:
        a_t -= _array(tilt.margin)[numbers]
    e = np.exp(a - a_t[:, None])
    e.put(place, a_t - a_t)  # 0, but NaN for an infinite a_t, as torch has it
    odds = np.add.reduce(e, 1)
    return e, odds, odds


@lru_cache(maxsize=64)
def _starts(samples: int, classes: int) -> np.ndarray:
    """Where each sample's logits begin."""
    return np.arange(0, samples * classes, classes)


def _array(x: torch.Tensor) -> np.ndarray:
    return (x if x.dtype in NUMPYS else x.double()).numpy()


def _tensor(x: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    x = np.asarray(x, dtype=NUMPYS.get(like.dtype))
    return torch.from_numpy(x) if like.dtype in NUMPYS else torch.from_numpy(x).to(like.dtype)


def _tilted(z: torch.Tensor, tilt: Tilt) -> np.ndarray:
    a = _array(z)
    if tilt.scale is not None:
        a = a * _array(tilt.scale).astype(np.float64)
    return a if tilt.offset is None else a + _array(tilt.offset).astype(np.float64)


def _weighed(samples: Samples, total: int, classes: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Class numbers, masses in float64 (0 where ignored), and how many samples count."""
    target, weight, counted = samples.target.numpy(), samples.weight, None
    if samples.ignore_index >= 0 or not _within(target, classes):
        counted = target != samples.ignore_index
        target, total = np.where(counted, target, 0), int(counted.sum())
        if not _within(target, classes):
            raise IndexError("a class number is out of range")
    mass = (
        np.ones(len(target)) if weight is None else _array(weight).take(target).astype(np.float64)
    )
    if counted is not None:
        mass *= counted
    if samples.sample_weight is not None:
        mass *= _array(samples.sample_weight)
    return target, mass, total


def _within(target: np.ndarray, classes: int) -> bool:
    """True when all are 0 .. classes - 1: as unsigned numbers the negative ones are the largest."""
    unsigned = target.astype(np.int64, copy=False).view(np.uint64)
    return bool(np.maximum.reduce(unsigned) < classes)


def _bent(odds: np.ndarray, factor: np.ndarray, tilt: Tilt) -> tuple[np.ndarray, np.ndarray]:
    """The losses, and their derivatives by the margin."""
    gamma, poly = tilt.gamma, tilt.poly
    loss, both = np.log1p(odds), 1 + odds
    slope = miss = odds / both
    if gamma:
        slope = miss + gamma * loss / both
        factor = factor * miss**gamma
    if poly:
        slope = slope + (poly * (gamma + 1)) * miss / both
        loss += poly * miss
    return factor * loss, factor * slope
