"""What the histories and the first step say about each network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.findings._finding import Evidence, Finding, one_seed, percent, sentence, shown

Record = Mapping[str, Any]

ORDERS_OF_MAGNITUDE = 100.0  # what "far below" means for shares and gradient ratios


def explain_norms(
    histories: Mapping[str, Sequence[Record]],
    flows: Mapping[str, Sequence[Record]],
    chance: float = 0.1,
    test_size: int = 10_000,
) -> list[Finding]:
    """Say which networks learned and, where the numbers tell, why another did not.

    A network has learned when its last test accuracy is above chance by more than
    3 sqrt(chance (1 - chance) / test_size), the noise of guessing. Its vanishing signal is given as
    the reason only if it did not learn, others did, and its visible share at the last layer or its
    gradient ratio (first layer / last layer) is at least a hundred times below all of theirs and
    below 1.

    Args:
        histories: per network one record per epoch with `epoch` and `test_accuracy`.
        flows: per network one record per layer, first to last, with `visible_share` and
            `grad_norm`; None, absent or NaN where a layer has none.
        chance: accuracy of guessing.
        test_size: number of test images.

    Returns:
        The findings, codes CP201 to CP209.

    Raises:
        ValueError: when there is no network, a network has no record, or chance or test_size make
            no sense.

    Example:
        >>> history = [{"epoch": 3, "test_accuracy": 0.1}]
        >>> print(explain_norms({"plain": history}, {})[0].text)
        plain did not learn: 10.0% of the test images right after epoch 3, which cannot be told \
from guessing (10.0%, give or take 0.9 points).
    """
    _check_histories(histories, chance, test_size)
    noise = 3.0 * math.sqrt(chance * (1.0 - chance) / test_size)
    codes = {n: _learning_code(h[-1]["test_accuracy"], chance, noise) for n, h in histories.items()}
    found = [_learning(codes[n], n, h[-1], chance, noise) for n, h in histories.items()]
    signals = {name: signal_of(flows[name]) for name in histories if flows.get(name)}
    found += [_describe_signal(name, signal) for name, signal in signals.items()]
    found += _reasons(codes, signals)
    return [*found, one_seed("CP209", "networks")]


def _check_histories(
    histories: Mapping[str, Sequence[Record]], chance: float, test_size: int
) -> None:
    """Refuse what no sentence can be made of."""
    if not 0.0 < chance < 1.0 or test_size < 1:
        raise ValueError(
            f"explain_norms needs 0 < chance < 1 and test_size >= 1, but got {chance} and "
            f"{test_size}; chance is 1 / number of classes for a balanced test set"
        )
    if not histories:
        raise ValueError("explain_norms needs a network, but got none; pass name: records")
    for name, records in histories.items():
        if not records:
            raise ValueError(
                f"explain_norms needs a record per epoch for {name!r}, but got none; leave it out"
            )


def _learning_code(accuracy: float, chance: float, noise: float) -> str:
    """Return the code for learned, not learned, or worse than guessing."""
    if abs(accuracy - chance) <= noise:
        return "CP202"
    return "CP201" if accuracy > chance else "CP203"


def _learning(code: str, name: str, last: Record, chance: float, noise: float) -> Finding:
    """Say whether one network learned."""
    template = {
        "CP201": "{name} learned: {accuracy:.1f}% of the test images right after epoch {epoch}; "
        "guessing gets {chance:.1f}%, give or take {noise:.1f} points.",
        "CP202": "{name} did not learn: {accuracy:.1f}% of the test images right after epoch "
        "{epoch}, which cannot be told from guessing ({chance:.1f}%, give or take {noise:.1f} "
        "points).",
        "CP203": "{name} is worse than guessing: {accuracy:.1f}% of the test images right after "
        "epoch {epoch}, where guessing gets {chance:.1f}%, give or take {noise:.1f} points; look "
        "for mixed-up labels.",
    }[code]
    evidence: Evidence = {
        "name": name,
        "accuracy": percent(last["test_accuracy"]),
        "epoch": int(last["epoch"]),
        "chance": percent(chance),
        "noise": percent(noise),
    }
    return sentence(code, template, evidence)


@dataclass(frozen=True)
class Signal:
    """What arrives at the two ends of a network; None where it was not measured."""

    share: float | None
    gradient: float | None


def signal_of(layers: Sequence[Record]) -> Signal:
    """Return the visible share at the last layer and the gradient ratio first / last."""
    shares, norms = _known(layers, "visible_share"), _known(layers, "grad_norm")
    measured = len(norms) > 1 and norms[-1] > 0
    return Signal(shares[-1] if shares else None, norms[0] / norms[-1] if measured else None)


def _known(layers: Sequence[Record], key: str) -> list[float]:
    """Return the finite values of one key, in order."""
    values = [layer.get(key) for layer in layers]
    return [float(v) for v in values if v is not None and math.isfinite(v)]


def _describe_signal(name: str, signal: Signal) -> Finding:
    """State the two numbers of one network."""
    share = "not measured" if signal.share is None else shown(signal.share)
    gradient = "not defined" if signal.gradient is None else shown(signal.gradient)
    template = (
        "{name} at the first step: visible share of the last layer's activation (variance over "
        "images / second moment) {share}; gradient norm, first layer / last layer: {gradient}."
    )
    return sentence("CP204", template, {"name": name, "share": share, "gradient": gradient})


def _reasons(codes: Mapping[str, str], signals: Mapping[str, Signal]) -> list[Finding]:
    """Say why the networks that stand at chance do so, or that there is nothing to compare."""
    learned = [name for name, code in codes.items() if code == "CP201"]
    stuck = [name for name, code in codes.items() if code == "CP202"]
    if not learned:
        template = "No network learned, so the runs do not show what a normalization layer changes."
        return [sentence("CP207", template, {})]
    if len(learned) == len(codes):
        template = "Every network learned, so there is no failure here to explain."
        return [sentence("CP207", template, {})]
    others = [signals[name] for name in learned if name in signals]
    return [_reason(name, signals.get(name), others) for name in stuck]


def _reason(name: str, signal: Signal | None, others: Sequence[Signal]) -> Finding:
    """Explain one network by what vanishes in it and in none of those that learned."""
    own = signal or Signal(None, None)
    share = far_below(own.share, [s.share for s in others])
    gradient = far_below(own.gradient, [s.gradient for s in others])
    parts, evidence = [], {"name": name}
    if share:
        parts.append(
            "its last activation is nearly the same for every image (visible share {share}, at "
            "least {share_others} in those that learned)"
        )
        evidence |= {"share": share[0], "share_others": share[1]}
    if gradient:
        parts.append(
            "the gradient of its first layer is far below its last layer's ({gradient} of it, at "
            "least {gradient_others} in those that learned)"
        )
        evidence |= {"gradient": gradient[0], "gradient_others": gradient[1]}
    if not parts:
        return sentence("CP206", _NO_REASON, evidence)
    template = "Why {name} did not learn, as far as these numbers show: "
    return sentence("CP205", template + ", and ".join(parts) + ".", evidence)


_NO_REASON = (
    "Why {name} did not learn these numbers do not tell: neither its visible share nor its "
    "gradient ratio lies orders of magnitude below those of the networks that learned."
)


def far_below(value: float | None, others: Sequence[float | None]) -> tuple[str, str] | None:
    """Return value and smallest other one, written out, if orders of magnitude lie between.

    The value must be small by itself too: next to gradients that explode, a level one is no defect.
    """
    if value is None or not others or any(other is None for other in others):
        return None
    least = min(other for other in others if other is not None)
    if value * ORDERS_OF_MAGNITUDE > min(least, 1.0) or least <= 0:
        return None
    return shown(value), shown(least)
