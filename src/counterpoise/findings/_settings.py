"""Findings on a study's settings: CP335, CP336, CP337, CP343 and CP344."""

from collections.abc import Iterator

from counterpoise.findings.finding import Finding, listed, sentence
from counterpoise.registry import LOSSES
from counterpoise.study import Study, Variant
from counterpoise.study.cautions import at_edges

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
    """CP337: tuned values of nets that were chosen and have no neighbor on one side."""
    found = []
    for field, end, beyond, value, labels in at_edges(study.plan, study.choices):
        every = {t[field] for v in study.plan.nets for t in study.plan.trials(v) if field in t}
        evidence = {
            "field": "learning rate" if field == "lr" else field,
            "labels": listed(labels, between="; "),
            "end": end,
            "beyond": beyond,
            "value": f"{value:g}",
            "grid": ", ".join(f"{x:g}" for x in sorted(every)),
        }
        template = (
            "The {field} {value} is the {end} that was tried ({grid}), and was chosen for "
            "{labels}: a {beyond} one may do better there."
        )
        found.append(sentence("CP337", template, evidence))
    return found


def fixed_where_others_tune(study: Study) -> list[Finding]:
    """CP344: variants that set a field of which values are tried for others."""
    found = []
    for field in study.plan.tuned:
        fixed = [
            label
            for label, v in _variants(study)
            if v.takes(field) and not any(field in t for t in study.plan.trials(v))
        ]
        if fixed:
            evidence = {
                "labels": listed(fixed, between="; "),
                "field": "learning rate" if field == "lr" else field,
            }
            template = (
                "The {field} is tuned for the other variants, and fixed for {labels}: what these "
                "gain or lose is that of the tuning, too."
            )
            found.append(sentence("CP344", template, evidence))
    return found


def under_another_name(study: Study) -> list[Finding]:
    """CP343: variants whose logits are those of an earlier one, to the last bit."""
    template = (
        "{label} is {first} under another name: the logits of both on the test split are the same "
        "to the last bit in each seed that both have ({seeds}), so they count once."
    )
    return [
        sentence("CP343", template, {"label": label, "first": first, "seeds": len(common)})
        for label, first in study.duplicates.items()
        if (common := {r.seed for r in study.of(first)} & {r.seed for r in study.of(label)})
    ]


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
