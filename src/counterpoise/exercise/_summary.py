"""The exercise's answer in a few sentences: what was seen, why, and what it does not show."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from counterpoise.findings.finding import Finding

_MEASURES = {"CP301": "accuracy", "CP302": "balanced", "CP306": "rarest classes"}


def summarize(found: Sequence[Finding]) -> list[str]:
    """Return at most seven lines: on the networks, on the losses, and on what neither shows.

    Args:
        found: the findings of `explain_norms`, of `compare_losses` for one loss or several, and of
            `explain_alpha`.
    """
    return [*_of_networks(found), *_of_losses(found), *_not_shown(found)]


def _of_networks(found: Sequence[Finding]) -> Iterator[str]:
    groups = {"Learned": ("CP201",), "No better than guessing": ("CP202", "CP203")}
    said = {
        words: ", ".join(f"{e['name']} ({e['accuracy']}%)" for e in _evidence(found, *codes))
        for words, codes in groups.items()
    }
    yield " ".join(f"{words}: {names}." for words, names in said.items() if names)
    for why in _evidence(found, "CP205"):
        if "share" in why:
            what = "last activation hardly depends on the image (visible share"
            yield f"Why: {why['name']}'s {what} {why['share']}; {why['share_others']} with a norm)."
        else:
            what = "first layer hardly gets a gradient (share of the last one's"
            others = f"{why['gradient']}; {why['gradient_others']} with a norm)."
            yield f"Why: {why['name']}'s {what} {others}"


def _of_losses(found: Sequence[Finding]) -> Iterator[str]:
    for loss in dict.fromkeys(e["other"] for e in _evidence(found, "CP301")):
        points = [
            f"{words} {e['points']:+.1f}{' (noise)' if abs(e['points']) <= e['noise'] else ''}"
            for code, words in _MEASURES.items()
            for e in _evidence(found, code)
            if e["other"] == loss
        ]
        yield f"Against cross entropy, {loss}: {', '.join(points)} points."
    sizes = {
        f.code: f.text.rpartition("first step is ")[2].partition(" cross entropy's")[0]
        for f in found
        if f.code in ("CP310", "CP311")
    }
    if len(sizes) == 2:
        small, mean = sizes["CP310"], sizes["CP311"].removesuffix(" than")
        yield f"Why: the first gradient is {small} cross entropy's; with α of mean 1, {mean}."


def _not_shown(found: Sequence[Finding]) -> Iterator[str]:
    noise = max((e["noise"] for e in _evidence(found, "CP302")), default=0.0)
    yield f"Not shown: another seed. It was one run each, and {noise} points (balanced) are noise."
    yield "Not shown: which loss is best. No learning rate was tuned; `counterpoise compare` tunes."


def _evidence(found: Sequence[Finding], *codes: str) -> list[Mapping[str, Any]]:
    return [f.evidence for f in found if f.code in codes]
