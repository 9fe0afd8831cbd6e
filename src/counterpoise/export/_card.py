"""The model card of an export: README.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from statistics import mean
from typing import cast

import numpy as np
from scipy.special import softmax

import counterpoise
from counterpoise import stats
from counterpoise.decisions import Rule
from counterpoise.export._choose import Choice
from counterpoise.export._parts import Part
from counterpoise.metrics import balanced_accuracy, log_loss_at
from counterpoise.probabilities import Method, Posterior
from counterpoise.registry import BESIDE, METRICS, Metric
from counterpoise.sealed import Content
from counterpoise.study import Record, Study
from counterpoise.text import listed, printable

_ROWS = 50  # of a table
_FEW = 20  # test samples
_RULES = {
    "study": "The class is that of the highest logit, as the study scored it. The probabilities "
    "are at the training data's class shares, so a rare class can be given although another one "
    "is more probable.",
    "probable": "The class is the most probable one.",
    "costs": "The class is that of the lowest expected cost.",
    "thresholds": "A class with a threshold is given where its probability, at the training data's "
    "class shares, reaches it; elsewhere that of the others with the highest logit.",
}


def card(
    study: Study,
    choice: Choice,
    content: Content,
    parts: Sequence[Part],
    refitted: bool,
    decided: Sequence[str],
    calibration: Method,
) -> str:
    """Return the model card, in Markdown.

    Args:
        study: the study.
        choice: of variant and seeds.
        content: of `model.json`.
        parts: the nets.
        refitted: whether they were trained once more.
        decided: sentences on the rule, chosen on validation and measured on test.
        calibration: by which probabilities are made.
    """
    sections = [
        _head(study, choice, refitted),
        _use(content, parts),
        _scores(study, choice, refitted, calibration),
        _probabilities(content),
        _decision(content, decided),
        _data(study, choice, refitted),
        _limits(study, choice, content),
        _files(parts),
    ]
    return "\n\n".join(sections) + "\n"


def _head(study: Study, choice: Choice, refitted: bool) -> str:
    regime = f" Nets: {_md(study.plan.regime)}." if study.plan.regime else ""
    again = " It was then trained once more, on training and validation samples." * refitted
    return (
        f"# {_md(choice.label)}, trained on {_md(study.data['name'])}\n\n"
        f"A classifier of {len(study.data['class_names'])} classes, written by counterpoise "
        f"{counterpoise.__version__} from a comparison of {_count(len(study.labels), 'variant')} "
        f"over {_count(len(study.plan.seeds), 'seed')}"
        + " and the references beside them"
        * bool(study.reference_labels)
        + f". {_md(choice.label)} was taken: {_md(choice.why)}. "
        f"Weights: {_md(choice.seeds)}.{again}{regime}"
    )


def _use(content: Content, parts: Sequence[Part]) -> str:
    kind = content["reading"].get("kind")
    what = {"images": "photos/", "table": "new.csv"}.get(str(kind), "new.npz")
    lines = [
        "## Use",
        '```python\nimport counterpoise\n\nmodel = counterpoise.load(".")  # this folder\n'
        f'model.predict("{what}")\nmodel.predict_proba("{what}")\n```',
        f"Or `counterpoise predict . {what} --out predictions.csv`. On a CPU, with `pip install "
        "counterpoise` alone"
        + (", and the extra `counterpoise[export]`" * (content["net"]["kind"] != "net"))
        + ".",
    ]
    onnx = [part.entry["onnx"] for part in parts if "onnx" in part.entry]
    if onnx:
        shape = content["net"]["shape"]
        given = (
            "uint8 pixels"
            if kind == "images"
            else "float32 features, encoded as `features` in model.json says"
            if content["columns"]
            else "float32"
        )
        outputs = "`logits` and `probabilities`" if content["affine"] else "`logits`"
        lines.append(
            f"Without counterpoise, {onnx[0]} runs in onnxruntime: the input `input` is {given}, "
            f"(N, {', '.join(map(str, shape))}), the outputs are {outputs}."
        )
    return "\n\n".join(lines)


def _scores(study: Study, choice: Choice, refitted: bool, calibration: Method) -> str:
    metric, rows = study.metric.key, []
    for row in (study.metric, *(METRICS[word] for word in BESIDE if word != metric)):
        if values := _values(study, choice.label, row.key):
            label = row.label + (" (the study's metric)" if row.key == metric else "")
            label += f", {row.unit}" if row.unit not in ("%", "") else ""
            rows.append((label, *_mean(study, values, row)))
    calibrated = [x for r in study.of(choice.label) if (x := _log_loss(r, calibration)) is not None]
    if calibrated:
        rows.append(
            ("log-loss of the probabilities, nats", *_mean(study, calibrated, METRICS["nll"]))
        )
    number = len(_values(study, choice.label, metric))
    text = (
        f"## Scores\n\nOf {_md(choice.label)} {study.on_test}: means over "
        f"{_count(number, 'seed')}, each with one net, and 95% intervals for new seeds"
        + "; an estimate for this model, which has seen the validation samples, too"
        * refitted
        + ". The class is that of the highest logit; log-loss is at the training data's class "
        "shares.\n\n"
    )
    text += _table(("metric", "mean", "interval"), rows)
    if len(choice.records) > 1 and not study.resampled:
        text += f"\n\n{_together(choice.records, calibration)}"
    compared = [(label, _values(study, label, metric)) for label in study.labels]
    others = [
        (k, [x for x in v.values() if x is not None]) for k, v in study.reference_scores().items()
    ]
    rows = [(label, f"{mean(v):.3f}" if v else "–") for label, v in (*compared, *others)]
    said = f"All that was compared, by {study.metric.label}. {study.looks_words}"
    return f"{text}\n\n{said}\n\n" + _table(("", "mean"), rows)


def _together(records: Sequence[Record], calibration: Method) -> str:
    """Return the scores of the average of nets that share a test split."""
    targets = records[0].predictions["test_targets"]
    logits = [r.predictions["test_logits"].astype(np.float64) for r in records]
    mean_score = np.mean([softmax(z, axis=1) for z in logits], axis=0)
    posteriors = [cast(Posterior, r.posterior(calibration)) for r in records]
    p = np.mean([np.exp(q(z)) for q, z in zip(posteriors, logits, strict=True)], axis=0)
    loss = log_loss_at(np.log(p), targets, records[0].run["train_counts"])
    found = balanced_accuracy(targets, mean_score.argmax(1))
    return (
        f"The average of the {len(records)} nets, which is what this folder holds, has a balanced "
        f"accuracy of {found:.3f} and a log-loss of {loss:.3f} there."
    )


def _mean(study: Study, values: Sequence[float], row: Metric) -> tuple[str, str]:
    """Return the mean and its interval, wider where each seed draws its own test split."""
    found = stats.t_interval(values, test_to_train=study.test_to_train)
    if found.low is None or found.high is None:
        return f"{mean(values):.3f}", "–"
    low, high = row.possible(found.low, found.high)
    return f"{mean(values):.3f}", f"{low:.3f} to {high:.3f}"


def _log_loss(record: Record, calibration: Method) -> float | None:
    posterior = record.posterior(calibration)
    if posterior is None:
        return None
    log_p = posterior(record.predictions["test_logits"])
    return log_loss_at(log_p, record.predictions["test_targets"], record.run["train_counts"])


def _values(study: Study, label: str, metric: str) -> list[float]:
    every = study.scores(metric) | study.reference_scores(metric)
    return [x for x in every[label].values() if x is not None]


def _probabilities(content: Content) -> str:
    every = [Posterior.from_json(member["posterior"]) for member in content["members"]]
    first, hot = every[0], ", ".join(f"{p.temperature:.2f}" for p in every)
    how = {
        "none": "They are not calibrated.",
        "temperature": f"They are calibrated by a temperature, {hot}",
        "vector": f"They are calibrated by a temperature, {hot}, and a bias for each class",
        "isotonic": f"They are calibrated by a temperature, {hot}, and isotonic regression",
    }[first.method]
    on = f", fitted on {first.samples:,} validation samples." if first.samples else ""
    undone = (
        f" Class weights and sampler are undone by {', '.join(f'{p.undone:.0%}' for p in every)}, "
        "as the validation samples say."
        if min(p.undone for p in every) < 1
        else ""
    )
    exact = (
        f"The loss has no exact formula for them ({first.link.approximate}), so that they rest "
        "on this fit."
        if first.link.approximate
        else "A formula undoes what the loss does to them."
    )
    tried = content["estimate"]
    return (
        "## Probabilities\n\nThey are for data whose classes occur as often as in the training "
        f"data. {exact}{undone} {how}{on} `prior=` (`--prior`) moves them to other class shares. "
        f"Shares estimated from the test samples change the log-loss there from "
        f"{tried['before']:.3f} to {tried['after']:.3f}."
    )


def _decision(content: Content, decided: Sequence[str]) -> str:
    rule, names = Rule.from_json(content["rule"]), content["class_names"]
    lines = [_RULES[rule.kind]]
    if rule.thresholds:
        rows = [
            (name, f"{t:.3g}")
            for name, t in zip(names, rule.thresholds, strict=True)
            if t is not None
        ]
        lines.append(_table(("class", "threshold"), rows))
    if rule.costs:
        rows = [
            (name, *(f"{c:g}" for c in row)) for name, row in zip(names, rule.costs, strict=True)
        ]
        lines.append("Costs, true classes in rows:\n\n" + _table(("", *names), rows))
    if rule.abstain:
        lines.append(
            f"No class is given where the largest probability is below {rule.abstain:.3g}."
        )
    if rule.sets:
        rows = [(name, f"{t:.3g}") for name, t in zip(names, rule.sets, strict=True)]
        lines.append(
            "A class is in the set from this probability on:\n\n" + _table(("class", ""), rows)
        )
    return "\n\n".join(["## Decision", *lines, *map(_md, decided)])


def _data(study: Study, choice: Choice, refitted: bool) -> str:
    run = choice.records[0].run
    names, trained = study.data["class_names"], list(run["train_counts"])
    held = (run.get("validation") or {}).get("support") or [0] * len(names)
    if refitted:
        trained, held = [a + b for a, b in zip(trained, held, strict=True)], [0] * len(names)
    rows = [
        (name, *(f"{n:,}" for n in counts))
        for name, *counts in zip(names, trained, held, run["test"]["support"], strict=True)
    ]
    head = ("class", "training samples", "validation", "test")
    text = f"## Data\n\n{_md(study.data['source'])}; fingerprint `{study.data['fingerprint']}`.\n\n"
    notes = "".join(f"\n- {_md(n)}" for n in (*study.data["notes"], *study.data["left_out"]))
    return text + _table(head, rows) + "\n" + notes


def _limits(study: Study, choice: Choice, content: Content) -> str:
    k, metric = len(study.labels), study.metric
    k = 1 if choice.label in study.reference_labels else k  # which nobody chose by its score
    lines = []
    if k > 1 and choice.optimism is not None:
        lines.append(
            f"Its test score is optimistic by the choice: the best of {k} variants that are "
            f"equally good would have a {metric.label} of at most "
            f"{metric.shown_difference(choice.optimism).lstrip('+')} "
            f"{'above' if metric.higher_is_better else 'below'} the truth, on average."
        )
    elif k > 1:
        lines.append(
            "Its test score is optimistic by the choice among the variants; by how much is not "
            "known."
        )
    support = choice.records[0].run["test"]["support"]
    few = [name for name, n in zip(study.data["class_names"], support, strict=True) if n < _FEW]
    if few:
        lines.append(
            f"How well classes are found that have fewer than {_FEW} test samples is hardly known: "
            f"{listed(map(_md, few))}."
        )
    rule = Rule.from_json(content["rule"])
    what = "gets one of them, or none" if rule.abstain else "gets one of them"
    lines.append(f"It knows nothing but these classes: every sample {what}.")
    lines.append(
        "Data of another kind, such as photographs of another camera, are not covered by these "
        "scores."
    )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _files(parts: Sequence[Part]) -> str:
    lines = [f"- {_md(line)}" for part in parts for line in part.lines]
    return "\n".join(
        [
            "## Files",
            "",
            "model.json holds the size and SHA-256 of each, and `load` checks them.",
            *([""] if lines else []),
            *lines,
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Iterable[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows[:_ROWS]]
    if len(rows) > _ROWS:
        lines.append([f"{len(rows) - _ROWS} more", *[""] * (len(head) - 1)])
    return "\n".join("| " + " | ".join(_md(cell) for cell in row) + " |" for row in lines)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _md(value: object) -> str:
    """Return text in one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(printable(value).split()))
