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
_MOST = 4_000_000  # logits that are fitted to
_LEAST = 1e-6  # of a probability after isotonic regression, which may be 0
_HOTTEST = 5.0  # of |log temperature|
_WIDTHS = (0.25, 1.0)  # of the priors of log temperature and κ
_STEP = 1e-4  # of log temperature, for its derivative


@dataclass(frozen=True)
class Posterior:
    r"""Probabilities of the classes, from the logits of a net.

    .. math::
        \log p(y \mid x) = \ell_y(z / T)
        + \kappa \, (\log \pi_y - \log \pi^\text{seen}_y - \log w_y) + b_y + \text{const}

    with the logits z, the log-posterior ℓ of the loss (`Link`) without its class weights w, the
    class shares π of the training data, and those that the sampler showed the loss. κ = 1 undoes
    weights and sampler, as is exact where the net minimizes the expected loss; one that separates
    its training samples answers as if there were none, κ = 0 (Byrd and Lipton 2019, arXiv
    1812.03372). Temperature T, κ and biases b are fitted on validation data (`fit`).

    Attributes:
        link: what the loss makes the logits stand for.
        seen_counts: samples of each class as the loss saw them, (C).
        train_counts: samples of each class in the training data, (C): the prior of the result.
        temperature: T.
        undone: κ.
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
    undone: float = 1.0
    bias: tuple[float, ...] = ()
    curves: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = field(default=(), repr=False)
    method: str = "none"
    samples: int = 0

    def __post_init__(self) -> None:
        numbers = (self.temperature, self.undone, *self.bias, *self.seen_counts, *self.train_counts)
        if not (np.isfinite(numbers).all() and self.temperature > 0):
            raise ValueError(
                "temperature must be above 0, and it, κ, biases and counts finite, but got "
                f"{self.temperature:g}, {self.undone:g} and {self.bias[:3]}"
            )

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
        r"""Fit temperature, κ and biases on validation data, by maximum a posteriori likelihood.

        .. math::
            \min_{T, \kappa, b} \; -\sum_i v_{t_i} \log p(t_i \mid x_i) + 8 \, (\log T)^2
            + \tfrac12 (1 - \kappa)^2 + \tfrac12 \sum_y b_y^2, \qquad 0 \le \kappa \le 1

        with v the class's share in the training data over that in the validation data, scaled so
        that the weights sum to Kish's effective number of samples: the validation split may have
        other class shares. The last terms are normal priors, of the standard deviation ¼ for log T
        and 1 for the others, which keep T and κ near 1 and b near 0 where there are few samples,
        and a net without an error on them from being called certain.

        Sources: temperature and vector scaling, Guo et al. 2017, arXiv 1706.04599; biases beside a
        temperature, Alexandari et al. 2020, arXiv 1901.06852; isotonic regression of one class
        against the rest, Zadrozny and Elkan 2002, with scikit-learn. The priors' widths are those
        of the lowest log-loss in benchmarks/probabilities.py.

        Args:
            logits: of validation data that were not trained on, (N, C); N may be 0. Of more than
                four million logits every k-th sample is taken.
            targets: their classes, int (N).
            link: of the loss.
            seen_counts: samples of each class as the loss saw them, (C): the sampler's.
            train_counts: samples of each class in the training data, (C).
            method: "temperature", for T and κ; "vector" for biases as well; "isotonic", a curve
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
        step = -(-z.size // _MOST)
        z, t = z[::step], t[::step]
        fitted = _scaled(plain, z, t, biases=method == "vector")
        if method == "isotonic":
            fitted = replace(fitted, curves=_curves(np.exp(fitted(z)), t, _weights(plain, t)))
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
        b = self.undone * self._effect()
        for values in filter(len, (link.offset, self.bias)):
            b = b + np.array(values)
        return np.array(link.scale or np.ones(classes)) / self.temperature, b

    def _log_p(self, logits: npt.ArrayLike) -> Floats:
        log_p = replace(self.link, weight=()).log_posterior(logits, self.temperature)
        bias = np.array(self.bias) if self.bias else 0.0
        return log_softmax(log_p + self.undone * self._effect() + bias, axis=1)

    def _effect(self) -> Floats:
        """Return what is to be added to undo weights and sampler, (C)."""
        classes = len(self.train_counts)
        found = log_shares(self.train_counts, classes) - log_shares(self.seen_counts, classes)
        return found - np.log(self.link.weight) if self.link.weight else found

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
            float(content["undone"]),
            bias,
            curves,
            str(content["method"]),
            int(content["samples"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**vars(self), "link": self.link.to_json()}


def _scaled(plain: Posterior, z: Floats, t: npt.NDArray[np.int64], biases: bool) -> Posterior:
    """Return a posterior with the temperature, κ and biases that fit best."""
    effect, row, classes = plain._effect(), np.arange(len(t)), z.shape[1]
    width, v = np.r_[_WIDTHS, np.ones(classes * biases)], _weights(plain, t)

    def at(x: Floats) -> Posterior:
        bias = tuple(x[2:].tolist()) if biases else ()
        return replace(plain, temperature=float(np.exp(x[0])), undone=1 + float(x[1]), bias=bias)

    def cost(x: Floats) -> tuple[float, Floats]:
        made, slope = at(x), np.zeros_like(x)
        log_p = made._log_p(z)
        p = np.exp(log_p)
        if (affine := made.affine()) is not None:
            a = affine[0] * z
            slope[0] = v @ (a[row, t] - (p * a).sum(1))
        else:
            step = _STEP * np.eye(1, len(x))[0]
            up, down = (-(v * at(x + e)._log_p(z)[row, t]).sum() for e in (step, -step))
            slope[0] = (up - down) / (2 * _STEP)
        off = v @ p - np.bincount(t, v, minlength=classes)
        slope[1] = off @ effect
        slope[2:] = off if biases else 0
        prior = 0.5 * ((x / width) ** 2).sum()
        return float(prior - v @ log_p[row, t]), slope + x / width**2

    bounds = [(-_HOTTEST, _HOTTEST), (-1, 0), *[(None, None)] * (classes * biases)]
    found = minimize(cost, np.zeros(len(bounds)), jac=True, bounds=bounds)
    return at(found.x)


def _weights(plain: Posterior, t: npt.NDArray[np.int64]) -> Floats:
    """Return the weight of each sample, at which classes have their shares in the training data."""
    counts = np.bincount(t, minlength=len(plain.train_counts))
    shares = np.where(counts > 0, np.exp(log_shares(plain.train_counts, len(counts))), 0)
    v = (shares / np.maximum(counts, 1))[t]
    return v * v.sum() / (v**2).sum()


def _curves(
    p: Floats, t: npt.NDArray[np.int64], v: Floats
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    """Return isotonic regressions of each class against the rest, as the points of lines."""
    from sklearn.isotonic import IsotonicRegression  # takes a second that most uses do not need

    found = []
    for k, column in enumerate(p.T):
        if not (t == k).any():  # nothing is known of it
            found.append(((0.0, 1.0), (0.0, 1.0)))
            continue
        fitted = IsotonicRegression(out_of_bounds="clip").fit(column, t == k, v)
        found.append((tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist())))
    return tuple(found)
