"""Calibrated class probabilities of one net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

from counterpoise.arguments import Counts, read_counts
from counterpoise.probabilities._link import Link
from counterpoise.probabilities._prior import log_shares, move_prior

Floats = npt.NDArray[np.float64]
Method = Literal["auto", "temperature", "vector", "isotonic", "none"]
METHODS: tuple[str, ...] = get_args(Method)
_LEAST = 1e-6  # of a probability after isotonic regression, which may be 0
_HOTTEST = 5.0  # of |log temperature|
_STEP = 1e-4  # of it, for its derivative


@dataclass(frozen=True)
class Posterior:
    r"""Probabilities of the classes, from the logits of a net.

    .. math::
        \log p(y \mid x) = \ell_y(z / T) + \log \pi_y - \log \pi^\text{seen}_y + b_y + \text{const}

    with the logits z, the log-posterior ℓ of the loss (`Link`), the class shares π of the training
    data, those that the sampler showed the loss, and temperature T and biases b, which are fitted
    on validation data (`fit`).

    Attributes:
        link: what the loss makes the logits stand for.
        seen_counts: samples of each class as the loss saw them, (C).
        train_counts: samples of each class in the training data, (C): the prior of the result.
        temperature: T.
        bias: b, (C); empty for none.
        curves: of isotonic regression, for each class the probabilities before and after; empty for
            none.
        method: of the calibration.
        samples: that it was fitted on; 0 for none.

    Example:
        >>> import numpy as np
        >>> posterior = Posterior(Link(offset=tuple(np.log([90, 10]))), (90, 10), (90, 10))
        >>> np.exp(posterior([[0.0, 0.0]])).round(4)  # balanced softmax, at the data's shares
        array([[0.9, 0.1]])
        >>> np.exp(posterior([[0.0, 0.0]], prior=[1, 1])).round(4)
        array([[0.5, 0.5]])
    """

    link: Link
    seen_counts: tuple[float, ...]
    train_counts: tuple[float, ...]
    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    curves: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = field(default=(), repr=False)
    method: str = "none"
    samples: int = 0

    @classmethod
    def fit(
        cls,
        logits: npt.ArrayLike,
        targets: npt.ArrayLike,
        *,
        link: Link,
        seen_counts: Counts,
        train_counts: Counts,
        method: Method = "auto",
    ) -> Posterior:
        r"""Fit temperature and biases on validation data, by maximum posterior likelihood.

        .. math::
            \min_{T, b} \; -\sum_i \log p(t_i \mid x_i) + \tfrac12 (\log T)^2
            + \tfrac12 \sum_y b_y^2

        The two last terms keep T near 1 and b near 0 where a class has a few samples only.

        Sources: temperature and vector scaling, Guo et al. 2017, arXiv 1706.04599; biases beside a
        temperature, Alexandari et al. 2020, arXiv 1901.06852; isotonic regression of one class
        against the rest, Zadrozny and Elkan 2002, with scikit-learn.

        Args:
            logits: of validation data that were not trained on, (N, C); N may be 0.
            targets: their classes, int (N).
            link: of the loss.
            seen_counts: samples of each class as the loss saw them, (C): the sampler's.
            train_counts: samples of each class in the training data, (C).
            method: "temperature"; "vector" for biases as well; "isotonic", a curve
                for each class, which needs hundreds of samples of it; "none"; or "auto",
                "temperature" for an exact link and else "vector".

        Raises:
            ValueError: another method, or shapes that do not fit.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, but got {method!r}")
        z, t = np.asarray(logits, np.float64), np.asarray(targets, np.int64)
        if z.ndim != 2 or t.shape != z.shape[:1]:
            raise ValueError(
                f"logits must be (N, C) and targets (N), but got {z.shape} and {t.shape}"
            )
        if method == "auto":
            method = "vector" if link.approximate else "temperature"
        seen, train = (tuple(read_counts(c).tolist()) for c in (seen_counts, train_counts))
        plain = cls(link, seen, train)
        if method == "none" or not len(z):
            return plain
        fitted = _scaled(plain, z, t, biases=method == "vector")
        if method == "isotonic":
            fitted = replace(fitted, curves=_curves(np.exp(fitted(z)), t))
        return replace(fitted, method=method, samples=len(z))

    def __call__(self, logits: npt.ArrayLike, prior: Counts | None = None) -> Floats:
        """Return log-probabilities of the classes, float64 (N, C).

        Args:
            logits: of the net, (N, C).
            prior: shares or counts of the classes where it is used, (C); None for those of the
                training data. A class of 0 is ruled out.
        """
        log_p = self._log_p(logits)
        if self.curves:
            p = np.stack(
                [np.interp(x, *c) for x, c in zip(np.exp(log_p).T, self.curves, strict=True)], 1
            )
            p = np.maximum(p, _LEAST)
            log_p = np.log(p / p.sum(1, keepdims=True))
        return log_p if prior is None else move_prior(log_p, self.train_counts, prior)

    def affine(self) -> tuple[Floats, Floats] | None:
        """Return a and b, (C) each, if the probabilities are softmax(a z + b); None if not."""
        link, classes = self.link, len(self.train_counts)
        if any(link.gamma) or link.poly or any(link.margin) or self.curves:
            return None
        b = log_shares(self.train_counts, classes) - log_shares(self.seen_counts, classes)
        for values, sign in ((link.offset, 1), (np.log(link.weight), -1), (self.bias, 1)):
            b = b + sign * np.array(values) if len(values) else b
        return np.array(link.scale or np.ones(classes)) / self.temperature, b

    def _log_p(self, logits: npt.ArrayLike) -> Floats:
        log_p = self.link.log_posterior(logits, self.temperature)
        log_p = move_prior(log_p, self.seen_counts, _filled(self.train_counts))
        return log_softmax(log_p + np.array(self.bias), axis=1) if self.bias else log_p

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Posterior:
        """Return the posterior that `to_json` describes."""
        seen, train, bias = (
            tuple(map(float, content[k])) for k in ("seen_counts", "train_counts", "bias")
        )
        curves = tuple((tuple(map(float, x)), tuple(map(float, y))) for x, y in content["curves"])
        return cls(
            Link.from_json(content["link"]),
            seen,
            train,
            float(content["temperature"]),
            bias,
            curves,
            str(content["method"]),
            int(content["samples"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**vars(self), "link": self.link.to_json()}


def _filled(counts: tuple[float, ...]) -> Floats:
    """Return counts in which an empty class counts as the rarest of the others."""
    return np.exp(log_shares(counts, len(counts)))


def _scaled(plain: Posterior, z: Floats, t: npt.NDArray[np.int64], biases: bool) -> Posterior:
    """Return a posterior with the temperature and biases that fit best."""
    row, classes = np.arange(len(t)), z.shape[1]

    def at(x: Floats) -> Posterior:
        bias = tuple(x[1:].tolist()) if biases else ()
        return replace(plain, temperature=float(np.exp(x[0])), bias=bias)

    def cost(x: Floats) -> tuple[float, Floats]:
        log_p, slope, step = at(x)._log_p(z), np.zeros_like(x), np.zeros_like(x)
        step[0] = _STEP
        up, down = (-at(x + e)._log_p(z)[row, t].sum() for e in (step, -step))
        slope[0] = (up - down) / (2 * _STEP)
        if biases:
            slope[1:] = np.exp(log_p).sum(0) - np.bincount(t, minlength=classes)
        return float(-log_p[row, t].sum() + 0.5 * (x**2).sum()), slope + x

    bounds = [(-_HOTTEST, _HOTTEST), *[(None, None)] * (classes * biases)]
    found = minimize(cost, np.zeros(1 + classes * biases), jac=True, bounds=bounds)
    return at(found.x)


def _curves(
    p: Floats, t: npt.NDArray[np.int64]
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    """Return isotonic regressions of each class against the rest, as the points of lines."""
    from sklearn.isotonic import IsotonicRegression  # takes a second that most uses do not need

    found = []
    for k, column in enumerate(p.T):
        fitted = IsotonicRegression(out_of_bounds="clip").fit(column, t == k)
        found.append((tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist())))
    return tuple(found)
