"""Findings on runs that did not learn, and their causes: CP220 to CP225."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from counterpoise import stats
from counterpoise.findings.finding import Evidence, Finding, listed, percent, sentence, shown
from counterpoise.study import Record, Study
from counterpoise.study.spec import labels_of, trials_of

VANISHED = 1e-6  # a visible share that explains by itself why nothing was learned
FAR = 100.0  # times below the visible share of what learned
DEAD = 0.9  # share of dead units from which on a layer counts as dead
RANKS = 0.7  # the area under ROC from which on a net has learned, whatever it answers
NEARLY_ALL = 0.95  # share of the answers that are one class
APART = 0.1  # by which the answers' share must exceed that of the test samples


def failed(study: Study) -> list[Finding]:
    """CP220: runs to be reported that ended with an error."""
    found = []
    for label in study.labels:
        reasons = _reasons(study, label, "final")
        if reasons:
            template = "{label}: {failed} of {seeds} runs failed; the first with: {reason}"
            evidence: Evidence = {
                "label": label,
                "failed": len(reasons),
                "seeds": len(study.plan.seeds),
                "reason": reasons[0],
            }
            found.append(sentence("CP220", template, evidence))
    return found


def no_rate_worked(study: Study) -> list[Finding]:
    """CP221: at each value that was tried a training failed, so that none could be chosen."""
    found = []
    for label in study.labels:
        failed = {
            repr(trials_of(row)[label])
            for name, row in study.expected.items()
            if name in study.failed and label in labels_of(row) and row["stage"] == "tuning"
        }
        variant = study.plan.variant_of(label)
        trials = study.plan.trials(variant)
        if trials and failed >= set(map(repr, trials)):
            template = (
                "{label} was not trained: at each of the {rates} {what} that were tried a "
                "training failed; the first with: {reason}"
            )
            reason = _reasons(study, label, "tuning")[0]
            names = list(trials[0])
            what = "learning rates" if names == ["lr"] else f"values of {listed(names)}"
            evidence = {"label": label, "rates": len(trials), "what": what, "reason": reason}
            found.append(sentence("CP221", template, evidence))
    return found


def _reasons(study: Study, label: str, stage: str) -> list[str]:
    """The first line of why each of a variant's runs failed, in the order of the runs."""
    return [
        (study.failed[name].splitlines() or ["no reason was given"])[0]
        for name, row in study.expected.items()
        if name in study.failed and label in labels_of(row) and row["stage"] == stage
    ]


def never_learned(study: Study) -> list[Finding]:
    """CP222: runs whose score cannot be told from guessing."""
    found = []
    for label, stuck in _stuck(study).items():
        if stuck:
            metric, chance, noise = _guessing(study)
            template = (
                "{label}: {stuck} of {runs} runs cannot be told from guessing by {measure} {where} "
                "of {samples:,} samples: {highest:.1f}% at most, where a guess has {chance:.1f}% "
                "with a standard deviation of {noise:.1f} points{ranks}."
            )
            evidence: Evidence = {
                "label": label,
                "stuck": len(stuck),
                "runs": len(study.of(label)),
                "measure": metric.replace("_", " "),
                "where": study.on_test,
                "samples": sum(study.data["test_counts"]),
                "ranks": _ranks(study, stuck),
                "highest": percent(max(r.run["test"][metric] for r in stuck)),
                "chance": percent(chance),
                "noise": percent(noise),
            }
            found.append(sentence("CP222", template, evidence))
    return found


def _stuck(study: Study) -> dict[str, list[Record]]:
    """The runs of each variant that never learned."""
    metric, chance, noise = _guessing(study)
    return {
        label: [r for r in study.of(label) if stats.collapsed(r.run["test"][metric], chance, noise)]
        for label in study.labels
    }


def _ranks(study: Study, stuck: Sequence[Record]) -> str:
    """Say so where all these runs rank the samples, by `RANKS` and beyond chance.

    By chance the area under ROC of n samples against m has the standard deviation
    √((n + m + 1) / 12 n m) (Mann and Whitney 1947, Ann. Math. Stat. 18, 50).
    """
    counts = [n for n in study.data["test_counts"] if n > 0]
    least, total = min(counts), sum(counts)
    areas = [r.run["test"].get("macro_auroc") for r in stuck]
    if least == total or any(area is None for area in areas):
        return ""
    noise = math.sqrt((total + 1) / (12 * least * (total - least)))
    if not min(areas) >= max(RANKS, 0.5 + 2 * noise):
        return ""
    return (
        f", though with a macro AUROC of {min(areas):.2f} or more they rank the samples: not the "
        "learning is off but the decision, which logit adjustment or a threshold mends"
    )


def _guessing(study: Study) -> tuple[str, float, float]:
    """A metric, the score of guessing on it, and the standard deviation of that score."""
    counts = study.data["test_counts"]
    if study.plan.metric == "accuracy":
        chance = max(counts) / sum(counts)
        return "accuracy", chance, stats.guessing_noise(chance, [sum(counts)])
    chance = 1 / sum(n > 0 for n in counts)
    return "balanced_accuracy", chance, stats.guessing_noise(chance, counts)


def vanishing_signal(study: Study) -> list[Finding]:
    """CP223: where runs never learned, a visible share at the last layer that explains it.

    It is `FAR` times below that of every variant all of whose runs learned, or, where there is
    none, below `VANISHED`.
    """
    stuck = _stuck(study)
    learned = [
        share for label in study.labels if not stuck[label] and (share := _share(study.of(label)))
    ]
    found = []
    for label, records in stuck.items():
        share = _share(records)
        if share is None or not (share * FAR <= min(learned) if learned else share < VANISHED):
            continue
        template = (
            "{label} did not learn because its signal vanishes, as far as these numbers show: "
            "before the first step the outputs of its last layer are nearly the same for every "
            "input (visible share, the variance over the inputs divided by the second moment: "
            "{share}"
        )
        template += "; {least} or more in what learned)." if learned else ")."
        evidence: Evidence = {"label": label, "share": shown(share)}
        evidence |= {"least": shown(min(learned))} if learned else {}
        found.append(sentence("CP223", template, evidence))
    return found


def _share(records: Sequence[Record]) -> float | None:
    """The runs' median visible share at the last layer; None where it was not measured."""
    known = [[x for row in r.flow if (x := row.get("visible_share")) is not None] for r in records]
    last = [shares[-1] for shares in known if shares]
    return median(last) if last else None


def dead_layers(study: Study) -> list[Finding]:
    """CP224: layers before the last most of whose units give 0 for every sample looked at."""
    found = []
    for label in study.labels:
        dead = [d for r in study.of(label) if (d := _deadest(r.flow))["dead_share"] >= DEAD]
        if dead:
            worst = max(dead, key=lambda layer: layer["dead_share"])
            template = (
                "{label}: in {dead} of {runs} runs a layer is dead before the first step; at worst "
                "{share:.1f}% of the units of {layer} are zero for every sample looked at."
            )
            evidence: Evidence = {
                "label": label,
                "dead": len(dead),
                "runs": len(study.of(label)),
                "share": percent(worst["dead_share"]),
                "layer": str(worst["name"]),
            }
            found.append(sentence("CP224", template, evidence))
    return found


def _deadest(flow: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The layer with the highest dead share."""
    known = [layer for layer in flow[:-1] if layer.get("dead_share") is not None]
    return max(known, key=lambda layer: layer["dead_share"], default={"dead_share": 0.0})


def one_answer(study: Study) -> list[Finding]:
    """CP225: runs that give nearly all answers to one class, far more than it has samples."""
    found = []
    for label in study.labels:
        runs = [_favorite(r) for r in study.of(label)]
        single = [run for run in runs if run[1] >= NEARLY_ALL and run[1] - run[2] > APART]
        if single:
            k, share, truth = single[0]
            template = (
                "{label}: in {single} of {runs} runs nearly all answers are one class; in the "
                "first of them class {class_name} gets {share:.1f}% of the answers and has "
                "{truth:.1f}% of the test samples."
            )
            evidence: Evidence = {
                "label": label,
                "single": len(single),
                "runs": len(runs),
                "class_name": study.data["class_names"][k],
                "share": percent(share),
                "truth": percent(truth),
            }
            found.append(sentence("CP225", template, evidence))
    return found


def _favorite(record: Record) -> tuple[int, float, float]:
    """The class with most answers, its share of the answers and of the test samples."""
    scores = record.run["test"]
    truth = np.array(scores["support"], float)
    cells = np.array(scores["confusion_cells"], np.int64).reshape(-1, 3)
    answers = np.bincount(cells[:, 1], cells[:, 2], minlength=len(truth))
    k = int(answers.argmax())
    return k, float(answers[k] / answers.sum()), float(truth[k] / truth.sum())
