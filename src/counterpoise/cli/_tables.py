"""Results of a study as a table with sentences, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Any

from counterpoise import findings
from counterpoise.cli._board import mean_and_interval
from counterpoise.cli._shown import shown
from counterpoise.registry import BESIDE, METRICS, Metric
from counterpoise.study.record import to_json
from counterpoise.study.spec import run_words
from counterpoise.study.variant import trial_words
from counterpoise.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from counterpoise.stats import Comparison, Interval
    from counterpoise.study import AfterTraining, Ensemble, Record, Study

_MOST_ROWS = 8  # of what is reached without another training
_NAME = 30  # characters of a name that shall stand in one line
_LEGEND = (
    "±: 95% interval of the mean over seeds, with both ends where it is cut to what is possible; "
    "variants are compared seed by seed"
)
_DRAWN = "; each seed has its own test split, and intervals are widened for that"
_BESIDE = [METRICS[word] for word in ("accuracy", *BESIDE) if word != "mean_average_precision"]


def show_study(console: "Console", study: "Study") -> None:
    """Print the results of a study: a table of variants and references, then the findings."""
    wanted = len(study.labels) * len(study.plan.seeds)
    console.print(shown(f"Data: {one_line(study.data['source'])}"), soft_wrap=True)
    if study.plan.design_words:
        console.print(shown(study.plan.design_words), soft_wrap=True)
    if study.plan.regime:
        console.print(shown(f"Nets: {study.plan.regime}"), soft_wrap=True)
    console.print(shown((study.looks_words, "dim")), soft_wrap=True)
    if not study.finished:
        console.print(shown((f"{len(study.records)} of {wanted} runs are finished", "yellow")))
    console.print(_fitting_table(console, study))
    if study.reference_scores():
        console.print(_references(study))
    if rows := study.after_training():
        console.print(_after_training(study, rows))
    console.print(shown((_LEGEND + (_DRAWN if study.resampled else ""), "dim")))
    for reason, runs in _by_reason(study).items():
        said = one_line(f"{'; '.join(runs)}: {reason}")
        console.print(shown(("failed", "red"), f" {said}"), soft_wrap=True)
    for paragraph in findings.paragraphs(findings.collect_findings(study)):
        said = shown((paragraph.code, "cyan"), f" {one_line(paragraph.text)}")
        console.print(said, soft_wrap=True)
    show_answers(console, study)


def show_answers(console: "Console", study: "Study") -> None:
    """Print what to use, what was better, what is open and how the references stand."""
    found = findings.answers(study)
    console.print(shown((f"\n{one_line(found.use)}", "bold")), soft_wrap=True)
    for words in filter(None, (found.price, found.better, found.open, found.references)):
        console.print(shown(one_line(words)), soft_wrap=True)


def results_json(study: "Study") -> str:
    """Return the results of a study as JSON."""
    primary, key = study.scores(), study.metric.key
    listed = [m for m, row in METRICS.items() if row.key == m and not row.bounds]
    listed = list(dict.fromkeys((*listed, key)))
    return to_json(
        {
            "data": dict(study.data),
            "regime": study.plan.regime,
            "metric": study.plan.metric,
            "higher_is_better": study.metric.higher_is_better,
            "unit": study.metric.unit,
            "margin": study.metric.margin,
            "test": study.plan.test,
            "looks": {
                "rule": asdict(study.looks) if study.looks else None,
                "seen": [asdict(look) for look in study.seen],
                "words": study.looks_words,
            },
            "finished": study.finished,
            "failed": dict(study.failed),
            "variants": [
                {
                    "label": label,
                    "lr": study.choices.get(label, {}).get("lr"),
                    "model": variant.model or study.plan.training_of(variant).model,
                    "chosen": study.choices.get(label, {}),
                    "trials": len(study.plan.trials(variant)),
                    "scores": {str(seed): value for seed, value in primary[label].items()},
                    "mean": {m: _mean(study.scores(m)[label]) for m in listed},
                    "mean_adjusted": {m: _mean(study.scores(m, "adjusted")[label]) for m in listed},
                }
                for label, variant in zip(study.labels, study.plan.variants, strict=True)
            ],
            "verdicts": [asdict(v) for v in study.verdicts()],
            "best": study.best,
            "references": [
                {
                    "label": label,
                    "scores": {str(seed): value for seed, value in by_seed.items()},
                    "mean": {m: _mean(study.reference_scores(m)[label]) for m in listed},
                }
                for label, by_seed in study.reference_scores().items()
            ],
            "reference_verdicts": [asdict(v) for v in study.reference_verdicts()],
            "adjusted_verdict": (v := study.adjusted_verdict()) and asdict(v),
            "after_training": [
                {**asdict(row), "ensemble_note": row.ensemble.words if row.ensemble else None}
                for row in study.after_training()
            ],
            "answers": asdict(findings.answers(study)),
            "findings": [f.to_dict() for f in findings.collect_findings(study)],
        }
    )


def _by_reason(study: "Study") -> dict[str, list[str]]:
    """Return descriptions of the failed runs by reason."""
    found: dict[str, list[str]] = {}
    for run, reason in study.failed.items():
        row = study.expected[run]
        found.setdefault(reason, []).append(f"{row['label']} · {run_words(row)}")
    return found


def _fitting_table(console: "Console", study: "Study") -> Any:
    """Return the table with as many metrics as leave room for the names."""
    others = [m for m in _BESIDE if m.key != study.metric.key]
    names = max(map(len, study.labels))
    unbound = console.options.update_width(10 * console.width + names)
    for n in range(len(others), -1, -1):
        table = _table(study, others[:n])
        width = console.measure(table, options=unbound).maximum
        if width - max(0, names - _NAME) <= console.width:
            break
    return table


def _table(study: "Study", others: list[Metric]) -> Any:
    from rich.box import SIMPLE
    from rich.table import Table

    first = study.metric
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    words = [m.label for m in (first, *others)]
    nets_alone = len(study.plan.nets) == len(study.labels)
    rates = ["lr" if nets_alone else "chosen"] if study.plan.tunes else []
    for title in ("seeds", *words, *rates, "a run"):
        short = title.replace("-class", "").replace(" ", "\n")
        table.add_column(short, justify="right", no_wrap=True)
    for label in study.labels:
        records = study.of(label)
        scores = [x for x in study.scores()[label].values() if x is not None]
        table.add_row(
            shown(label),
            f"{len(scores)}/{len(study.plan.seeds)}",
            mean_and_interval(first, scores, study.test_to_train) if scores else "–",
            *(m.shown(_mean(study.scores(m.key)[label])) for m in others),
            *(_chosen(study, label).removeprefix("lr " if nets_alone else "") for _ in rates),
            _seconds(records),
        )
    return table


def _chosen(study: "Study", label: str) -> str:
    return "\n".join(trial_words({k: v}) for k, v in study.choices.get(label, {}).items()) or "–"


def _references(study: "Study") -> Any:
    """Return the table of what needs no training of another net, each beside the best net."""
    from rich.box import SIMPLE
    from rich.table import Table

    metric = study.metric
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    noun = findings.noun(study)
    beside = f", beside the {noun}\nwith the best mean, {study.best}" if study.best else ""
    table.add_column(shown(f"for reference{beside}"), overflow="fold")
    difference = f"difference,\n{metric.points.strip()}".removesuffix(",\n")
    for title in ("seeds", metric.label.replace(" ", "\n"), difference, "a\nrun"):
        table.add_column(title, justify="right", no_wrap=True)
    known = {v.variant: v.interval for v in study.reference_verdicts()}
    for label, by_seed in study.reference_scores().items():
        records = [r for r in study.references if r.label == label]
        found = [x for x in by_seed.values() if x is not None]
        interval = known.get(label)
        table.add_row(
            shown(label, (_part(records), "dim")),
            f"{len(found)}/{len(study.plan.seeds)}",
            mean_and_interval(metric, found, study.test_to_train) if found else "–",
            _difference(metric, interval) if interval else "–",
            _seconds(records),
        )
    return table


def _after_training(study: "Study", rows: "Sequence[AfterTraining]") -> Any:
    """Return the table of what variants reach without another training, of the best ones alone."""
    from rich.box import SIMPLE
    from rich.table import Table

    metric = study.metric
    best = sorted(rows[1:], key=lambda row: -metric.sign * row.trained)[: _MOST_ROWS - 1]
    known = [row for row in rows if row is rows[0] or row in best]
    columns = {
        "as\ntrained": [metric.shown(row.trained) for row in known],
        "logit\nadjustment": [_plus(metric, row.adjusted) for row in known],
        "τ-normal-\nization": [_plus(metric, row.normalized) for row in known],
        "all seeds\ntogether\n(all but one)": [_together(metric, row.ensemble) for row in known],
    }
    columns = {title: cells for title, cells in columns.items() if set(cells) != {"–"}}
    left = len(rows) - len(known)
    unit = metric.points.strip()
    note = f"differences to itself as trained, in {unit}".removesuffix(", in ")
    if every := [row.ensemble for row in known if row.ensemble]:
        note += f"; all seeds together: {max(every, key=lambda e: len(e.seeds)).words}"
    note += f"; {left} more variants are in the report" if left else ""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), caption=shown((note, "dim")))
    table.caption_justify = "left"
    table.add_column("after training,\nwithout another one", overflow="fold")
    for title in columns:
        table.add_column(title, justify="right", no_wrap=True)
    for row, *cells in zip(known, *columns.values(), strict=True):
        table.add_row(shown(row.label), *cells)
    return table


def _plus(row: Metric, pair: "Comparison | None") -> str:
    """Write a difference in its unit with half its interval, or with both ends where one is cut."""
    if pair is None:
        return "–"
    low, middle, high = astuple(pair.difference)
    if low is not None and row.possible_difference(low, high) == (low, high):
        return f"{row.signed(middle)} ±{row.signed(middle - low)[1:]}"
    return _difference(row, pair.difference)


def _together(row: Metric, found: "Ensemble | None") -> str:
    """Write a score, and how far it goes without a seed; the unit stands once."""
    if found is None:
        return "–"
    low, high = (row.shown(x).removesuffix(row.mark) for x in (found.low, found.high))
    return f"{row.shown(found.score)} ({low} to {high})"


def _difference(row: Metric, found: "Interval") -> str:
    middle = row.signed(found.estimate)
    if found.low is None or found.high is None:
        return middle
    low, high = map(row.signed, row.possible_difference(found.low, found.high))
    return f"{middle} ({low} to {high})"


def _seconds(records: "Sequence[Record]") -> str:
    times = [r.timing["seconds"] for r in records]
    if not times:
        return "–"
    mean = sum(times) / len(times)
    return f"{mean:.{0 if mean >= 10 else 1}f} s"


def _part(records: "Sequence[Record]") -> str:
    """Say on how many samples a reference was fitted, where not on all."""
    for r in records:
        seen, there = sum(r.run["seen_counts"]), sum(r.run["train_counts"])
        if seen < there:
            return f" on {seen:,} of {there:,} samples"
    return ""


def _mean(by_seed: dict[int, float | None]) -> float | None:
    values = [v for v in by_seed.values() if v is not None]
    return sum(values) / len(values) if values else None
