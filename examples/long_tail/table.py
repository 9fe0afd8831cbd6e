"""Print the table of a long-tail study in Markdown: python examples/long_tail/table.py STUDY [CSV]

A row a variant and a reference: mean and 95% interval over seeds, the difference to the baseline
with bounds that hold for all variants at once, the verdict, what comes free after training, what
was chosen, and what it cost. With CSV the scores of every run are written there, too.
"""

import csv
import sys

from counterpoise.stats import Interval, t_interval
from counterpoise.study import Study, open_study


def _mean(values: list[float]) -> str:
    found = t_interval(values)
    half = (found.high or found.estimate) - found.estimate
    return f"{100 * found.estimate:.1f} ± {100 * half:.1f}"


def _difference(interval: Interval) -> str:
    low, high = interval.low or 0.0, interval.high or 0.0
    return f"{100 * interval.estimate:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _cost(study: Study, label: str) -> str:
    """Return the seconds of a run, and how many trials chose its settings."""
    runs = [r.timing["seconds"] for r in study.of(label)]
    tried = len(study.plan.trials(study.plan.variant_of(label)))
    return f"{sum(runs) / len(runs):.0f}, {tried}" if runs else "–"


def table(study: Study) -> str:
    """Return the table of a study."""
    verdicts = {v.variant: v for v in study.verdicts()}
    free = {row.label: row for row in study.after_training()}
    scores = study.scores()
    lines = [
        "| variant | as trained | to the baseline | verdict | adjusted | τ-normalized | all seeds "
        "together | chosen | seconds a run, trials |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    order = sorted(scores, key=lambda k: -sum(x or 0 for x in scores[k].values()))
    for label in order:
        verdict, row = verdicts.get(label), free.get(label)
        after = (row.adjusted, row.normalized) if row else (None, None)
        cells = [
            f"`{label}`",
            _mean([x for x in scores[label].values() if x is not None]),
            _difference(verdict.interval) if verdict and verdict.interval else "baseline",
            verdict.words if verdict else "–",
            *(
                f"{100 * (row.trained + p.difference.estimate):.1f}" if row and p else "–"
                for p in after
            ),
            f"{100 * row.ensemble.score:.1f}" if row and row.ensemble else "–",
            study.chosen(label) or "–",
            _cost(study, label),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for label, by_seed in study.reference_scores().items():
        if label == study.adjusted_label:  # it stands in its row
            continue
        known = [x for x in by_seed.values() if x is not None]
        lines.append(f"| {label} (reference) | {_mean(known)} | | | | | | | |")
    return "\n".join(lines)


def results(study: Study) -> list[tuple[object, ...]]:
    """Return the scores of every run, as trained and after training, below a row of names."""
    kinds = {"as_trained": "test", "adjusted": "adjusted", "normalized": "normalized"}
    scores = [study.scores(kind=kind) for kind in kinds.values()]
    rows = [
        (label, seed, *(known[label][seed] for known in scores))
        for label in study.labels
        for seed in study.plan.seeds
    ]
    return [("variant", "seed", *kinds), *rows]


if __name__ == "__main__":
    study = open_study(sys.argv[1])
    print(table(study))
    for path in sys.argv[2:]:
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(results(study))
