"""Findings on networks that learned, and on the cause where one did not."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.findings.finding import ONE_SEED, Evidence, Finding, percent, sentence, shown

Rows = Sequence[Mapping[str, Any]]
Signal = tuple[float | None, float | None]  # visible share, gradient ratio; None: not measured

FAR = 100.0  # times below those that learned


def explain_norms(
    histories: Mapping[str, Rows],
    flows: Mapping[str, Rows],
    chance: float = 0.1,
    test_size: int = 10_000,
) -> list[Finding]:
    r"""Report which networks learned and, as far as the numbers show, why another did not.

    A network has learned when its last test accuracy exceeds chance $c$ by more than
    $3 \sqrt{c (1 - c) / n}$ on $n$ test images, the noise of guessing. A vanishing signal is given
    as the reason only if the network did not learn, others did, and its visible share at the last
    layer (variance over the images divided by the second moment) or its gradient ratio (norm in the
    first layer / in the last) is at least a hundred times below all of theirs and below 1 %.

    Args:
        histories: per network one record per epoch, with `epoch` and `test_accuracy`.
        flows: per network one record per layer, first to last, with `visible_share` and
            `grad_norm`; None, absent or NaN where a layer has none.
        chance: the accuracy of guessing.
        test_size: the number of test images.

    Returns:
        The findings, codes CP201 to CP209.

    Raises:
        ValueError: there is no network, a network has no record, or chance or test_size is out of
            range.

    Example:
        >>> from counterpoise.exercise import explain_norms
        >>> history = [{"epoch": 3, "test_accuracy": 0.1}]
        >>> print(explain_norms({"plain": history}, {})[0].text.partition(",")[0])
        plain did not learn: 10.0% of the test images right after epoch 3
    """
    if not 0.0 < chance < 1.0 or test_size < 1:
        raise ValueError(
            f"explain_norms needs 0 < chance < 1 and test_size >= 1, but got {chance} and "
            f"{test_size}; chance is 1 / number of classes for a balanced test set"
        )
    if not histories or not all(histories.values()):
        empty = [name for name, rows in histories.items() if not rows]
        raise ValueError(
            "explain_norms needs networks with a record per epoch, but got none"
            f"{f' for {empty[0]!r}' if empty else ''}; pass name: records"
        )
    noise = 3.0 * math.sqrt(chance * (1.0 - chance) / test_size)
    learning = {n: _learning(n, rows[-1], chance, noise) for n, rows in histories.items()}
    signals = {name: _signal(flows[name]) for name in histories if flows.get(name)}
    return [
        *learning.values(),
        *(_describe(name, signal) for name, signal in signals.items()),
        *_reasons({name: found.code for name, found in learning.items()}, signals),
        sentence("CP209", ONE_SEED, {"what": "networks"}),
    ]


_LEARNING = {
    "CP201": "{name} learned: {accuracy:.1f}% of the test images right after epoch {epoch}; "
    "guessing gets {chance:.1f}%, give or take {noise:.1f} points.",
    "CP202": "{name} did not learn: {accuracy:.1f}% of the test images right after epoch {epoch}, "
    "which cannot be told from guessing ({chance:.1f}%, give or take {noise:.1f} points).",
    "CP203": "{name} is worse than guessing: {accuracy:.1f}% of the test images right after epoch "
    "{epoch}, where guessing gets {chance:.1f}%, give or take {noise:.1f} points; look for "
    "mixed-up labels.",
}


def _learning(name: str, last: Mapping[str, Any], chance: float, noise: float) -> Finding:
    """Say whether a network learned, did not, or is worse than guessing."""
    gain = last["test_accuracy"] - chance
    code = "CP202" if abs(gain) <= noise else "CP201" if gain > 0 else "CP203"
    evidence: Evidence = {
        "name": name,
        "accuracy": percent(last["test_accuracy"]),
        "epoch": int(last["epoch"]),
        "chance": percent(chance),
        "noise": percent(noise),
    }
    return sentence(code, _LEARNING[code], evidence)


def _signal(layers: Rows) -> Signal:
    """Return the visible share at the last layer and the gradient ratio, first / last."""
    shares, norms = (
        [float(x) for row in layers if (x := row.get(key)) is not None and math.isfinite(x)]
        for key in ("visible_share", "grad_norm")
    )
    measured = len(norms) > 1 and norms[-1] > 0
    return shares[-1] if shares else None, norms[0] / norms[-1] if measured else None


def _describe(name: str, signal: Signal) -> Finding:
    """State the two numbers of a network."""
    share, gradient = signal
    template = (
        "{name} at the first step: visible share of the last layer's activation (variance over "
        "images / second moment) {share}; gradient norm, first layer / last layer: {gradient}."
    )
    evidence: Evidence = {
        "name": name,
        "share": "not measured" if share is None else shown(share),
        "gradient": "not defined" if gradient is None else shown(gradient),
    }
    return sentence("CP204", template, evidence)


def _reasons(codes: Mapping[str, str], signals: Mapping[str, Signal]) -> list[Finding]:
    """Say why some networks did not learn, or that there is nothing to compare."""
    learned = [name for name, code in codes.items() if code == "CP201"]
    if not learned:
        template = "No network learned, so the runs do not show what a normalization layer changes."
        return [sentence("CP207", template, {})]
    if len(learned) == len(codes):
        return [
            sentence("CP207", "Every network learned, so there is no failure here to explain.", {})
        ]
    others = [signals[name] for name in learned if name in signals]
    stuck = [name for name, code in codes.items() if code == "CP202"]
    return [_reason(name, signals.get(name, (None, None)), others) for name in stuck]


_REASONS = {
    "share": "its last activation is nearly the same for every image (visible share {share}, at "
    "least {share_others} in those that learned)",
    "gradient": "the gradient of its first layer is far below its last layer's ({gradient} of it, "
    "at least {gradient_others} in those that learned)",
}
_NO_REASON = (
    "Why {name} did not learn these numbers do not tell: neither its visible share nor its "
    "gradient ratio lies orders of magnitude below those of the networks that learned."
)


def _reason(name: str, signal: Signal, others: Sequence[Signal]) -> Finding:
    """Explain a network by a quantity that vanishes in it and in none of those that learned."""
    parts: list[str] = []
    evidence: Evidence = {"name": name}
    for key, value, theirs in zip(_REASONS, signal, zip(*others, strict=True), strict=False):
        if value is None or None in theirs:
            continue
        least = min(theirs)
        # Small by itself, too: next to gradients that explode, an even one is no defect.
        if least > 0 and value * FAR <= min(least, 1.0):
            parts.append(_REASONS[key])
            evidence |= {key: shown(value), f"{key}_others": shown(least)}
    if not parts:
        return sentence("CP206", _NO_REASON, evidence)
    template = "Why {name} did not learn, as far as these numbers show: " + ", and ".join(parts)
    return sentence("CP205", template + ".", evidence)
