"""The posterior that a loss makes a net's logits stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, logsumexp

Floats = npt.NDArray[np.float64]
_VECTORS = ("scale", "offset", "margin", "weight", "gamma")
_FAR = 30.0  # of log-odds: log(1 + exp(-d)) is exp(-d) in float64


@dataclass(frozen=True)
class Link:
    r"""Link from the logits of a net to the posterior of its training data, for one loss.

    A net that minimizes the expected loss over all functions of x has, at each x, logits z whose
    softmax :math:`q = \text{softmax}(s \odot z + b)` is a known function of the posterior p of the
    data as the loss saw them. Setting the derivative of
    :math:`\sum_y p_y w_y \phi_y(q_y)` on the simplex to zero gives

    .. math::
        p_y \propto \frac{1}{-w_y \, \phi_y'(q_y)}, \qquad
        \phi_y(q) = (1 - q)^{\gamma_y} \, \bigl(-\log q + \epsilon \, (1 - q)\bigr)

    which is :math:`q_y / w_y` for cross entropy with class weights w (also with the offsets of
    balanced softmax and logit adjustment and the scales of CDT and VS), and
    :math:`q_y / (w_y (1 + \epsilon q_y))` for poly loss. With margins m (γ = ε = 0) the loss is
    :math:`\log(q_y + e^{m_y} (1 - q_y)) - \log q_y` and

    .. math::
        p_y \propto \frac{q_y}{w_y} \, \bigl(1 - q_y + q_y e^{-m_y}\bigr).

    Sources: for focal loss Charoenphakdee et al. 2021, arXiv 2011.09172, theorem 11; for weights
    Elkan 2001, "The foundations of cost-sensitive learning", theorem 2; for offsets Menon et al.
    2021, arXiv 2007.07314, section 4; the others follow from the same condition.

    Args:
        scale, offset, margin, weight: one number per class, (C), as `AdjustedCrossEntropyLoss` has
            them; empty for none. Weights are above 0.
        gamma: one number for all classes, or one per class.
        poly: ε, at least -1.
        approximate: why the posterior is only near what the formula says, so that the rest is
            fitted on validation data (`Posterior.fit`); "" where it is exact.

    Raises:
        ValueError: margins together with gamma or poly, for which there is no formula.

    Example:
        >>> import numpy as np
        >>> Link(weight=(1, 3)).log_posterior([[0.0, np.log(3)]]).round(4)  # weights undone
        array([[-0.6931, -0.6931]])
    """

    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    margin: tuple[float, ...] = ()
    weight: tuple[float, ...] = ()
    gamma: tuple[float, ...] = ()
    poly: float = 0.0
    approximate: str = ""

    def __post_init__(self) -> None:
        numbers = [x for name in _VECTORS for x in getattr(self, name)]
        if not np.isfinite([*numbers, self.poly]).all():
            raise ValueError("the parameters of a link must be finite numbers")
        if self.margin and (any(self.gamma) or self.poly):
            raise ValueError("margin must come without gamma and poly: there is no link for both")
        if self.weight and not min(self.weight) > 0:
            raise ValueError(f"weight must be above 0 for every class, but got {self.weight}")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Link:
        """Return the link that `to_json` describes."""
        numbers = {name: tuple(map(float, content.get(name, ()))) for name in _VECTORS}
        return cls(
            **numbers,
            poly=float(content.get("poly", 0.0)),
            approximate=str(content.get("approximate", "")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what is not the default, as JSON has it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v}

    def log_posterior(self, logits: npt.ArrayLike, temperature: float = 1.0) -> Floats:
        """Return log p(y | x) under the class shares that the loss saw, float64 (N, C).

        Args:
            logits: of the net, (N, C).
            temperature: what they are divided by first: above 1 for a net that is too sure.
        """
        a = np.asarray(logits, np.float64) / temperature
        if self.scale:
            a = a * np.array(self.scale)
        if self.offset:
            a = a + np.array(self.offset)
        if self.margin:
            log_p = _of_margins(a, self.margin)
        elif any(self.gamma) or self.poly:
            log_p = _of_focal_and_poly(a, self.gamma or (0.0,), self.poly)
        else:
            log_p = a
        if self.weight:
            log_p = log_p - np.log(self.weight)
        return log_softmax(log_p, axis=1)


def _of_margins(a: Floats, margin: Sequence[float]) -> Floats:
    """Return log q + log(1 - q + q exp(-m)), q = softmax(a)."""
    d = _log_odds(a)
    log_q, log_rest = -np.logaddexp(0, -d), -np.logaddexp(0, d)
    return log_q + np.logaddexp(log_rest, log_q - np.array(margin))


def _of_focal_and_poly(a: Floats, gamma: Sequence[float], poly: float) -> Floats:
    r"""Return -log(-φ'(q)), q = softmax(a).

    With the log-odds d of q, :math:`1/q = 1 + e^{-d}` and r = -log(q) / (1 - q), which is at least
    1, :math:`-\phi' = (1 - q)^\gamma (e^{-d} + 1 + \epsilon + \gamma (r + \epsilon))`.
    """
    d, g = _log_odds(a), np.array(gamma)
    log_rest = -np.logaddexp(0, d)
    with np.errstate(divide="ignore", over="ignore"):
        cost = np.where(d > _FAR, -d, np.log(np.logaddexp(0, -d)))  # log(-log q)
        r = np.exp(np.minimum(cost - log_rest, 700))
        return -g * log_rest - np.logaddexp(
            -d, np.log1p(poly) if not g.any() else np.log(1 + poly + g * (r + poly))
        )


def _log_odds(a: Floats) -> Floats:
    """Return log q - log(1 - q) of q = softmax(a), with all digits where q rounds to 1."""
    a = a - a.max(1, keepdims=True)
    row, top = np.arange(len(a)), a.argmax(1)
    without = a.copy()
    without[row, top] = -np.inf
    others = logsumexp(without, axis=1)  # of all but the largest
    whole = np.logaddexp(0, others)[:, None]
    with np.errstate(divide="ignore"):
        d = a - whole - np.log1p(-np.exp(np.minimum(a - whole, -np.log(2))))
    d[row, top] = -others
    return d
