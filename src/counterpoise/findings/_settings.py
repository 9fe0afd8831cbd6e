"""Findings on a study's settings: CP335, CP336 and CP337."""

from collections.abc import Iterator

from counterpoise.findings.finding import Finding, listed, sentence
from counterpoise.registry import LOSSES
from counterpoise.study import Study, Variant

ALIKE = 1.01  # class sizes within this factor count as equal

_SHIFTING = ("balanced_softmax", "logit_adjusted")  # to the full extent, if tau is 1


def balanced_already(study: Study) -> list[Finding]:
    """CP335: a loss built from class sizes that were all alike."""
    template = (
        "{label}: every class came equally often to the loss (sampler: {sampler}), so nothing of "
        "its balancing is left; what remains is {rest}."
    )
    return [
        sentence("CP335", template, {"label": label, "sampler": v.sampler, "rest": rest})
        for label, v in _variants(study)
        if (member := LOSSES.get(v.plain_loss)) is not None
        if (rest := member.balanced) and not _class_weights(v)
        if _saw_alike(study, label, v)
    ]


def balanced_twice(study: Study) -> list[Finding]:
    """CP336: class weights on top of a sampler or a shift of the logits that balances fully."""
    found = []
    for label, v in _variants(study):
        alike = _saw_alike(study, label, v)
        weights = f"{name} in its settings" if (name := _class_weights(v)) else ""
        if v.deferred and not alike:
            weights = "+drw"
        shifted = v.plain_loss in _SHIFTING and v.settings.get("tau", 1) == 1
        if weights and (alike or shifted):
            first = (
                "every class comes equally often"
                if alike
                else "the loss shifts the logits by the class sizes"
            )
            evidence = {"label": label, "first": first, "weights": weights}
            template = (
                "{label}: the classes are balanced twice; {first}, and class weights come on top "
                "({weights}), which favors the small classes beyond an equal footing."
            )
            found.append(sentence("CP336", template, evidence))
    return found


def edge_of_the_grid(study: Study) -> list[Finding]:
    """CP337: nets' learning rates that were chosen and have no neighbor on one side."""
    rates = sorted(study.plan.grid)
    ends = (("lowest", "lower", 0), ("highest", "higher", -1)) if len(rates) > 1 else ()
    found = []
    for end, beyond, place in ends:
        labels = [
            label for label, _ in _variants(study) if study.choices.get(label) == rates[place]
        ]
        if labels:
            evidence = {
                "labels": listed(labels, between="; "),
                "end": end,
                "beyond": beyond,
                "lr": f"{rates[place]:g}",
                "grid": ", ".join(f"{rate:g}" for rate in rates),
            }
            template = (
                "The learning rate {lr} is the {end} that was tried ({grid}), and was chosen for "
                "{labels}: a {beyond} one may do better there."
            )
            found.append(sentence("CP337", template, evidence))
    return found


def _variants(study: Study) -> Iterator[tuple[str, Variant]]:
    return ((study.plan.label(v), v) for v in study.plan.nets)


def _class_weights(variant: Variant) -> str:
    """Return the name of the setting that holds class weights; "" without one."""
    name = "alpha" if variant.plain_loss == "focal" else "weight"
    return name if name in variant.settings else ""


def _saw_alike(study: Study, label: str, variant: Variant) -> bool:
    """Return True where the loss saw all classes equally often in every epoch."""
    records = study.of(label)
    if not records or variant.sampler == "progressive":
        return False
    seen = [n for n in records[0].run["seen_counts"] if n]
    return bool(seen) and max(seen) <= ALIKE * min(seen)
