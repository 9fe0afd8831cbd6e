"""The model card of an export: README.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from statistics import mean

import counterpoise
from counterpoise import stats
from counterpoise.decisions import Rule
from counterpoise.export._choose import Choice
from counterpoise.export._parts import Part
from counterpoise.probabilities import Posterior
from counterpoise.registry import METRICS
from counterpoise.sealed import Content
from counterpoise.study import Study
from counterpoise.text import printable

_ROWS = 50  # of a table
_RULES = {
    "study": "The class is that of the highest logit, as the study scored it. The probabilities "
    "are at the training data's class shares, so a rare class can be given although another one "
    "is more probable.",
    "probable": "The class is the most probable one.",
    "costs": "The class is that of the lowest expected cost.",
    "thresholds": "A class with a threshold is given where its probability reaches it.",
}


def card(
    study: Study,
    choice: Choice,
    content: Content,
    parts: Sequence[Part],
    refitted: bool,
    decided: Sequence[str],
) -> str:
    """Return the model card, in Markdown.

    Args:
        study: the study.
        choice: of variant and seeds.
        content: of `model.json`.
        parts: the nets.
        refitted: whether they were trained once more.
        decided: sentences on the rule, chosen on validation and measured on test.
    """
    sections = [
        _head(study, choice, refitted),
        _use(content, parts),
        _scores(study, choice, refitted),
        _probabilities(content),
        _decision(content, decided),
        _data(study, choice),
        _limits(study, choice, refitted),
        _files(parts),
    ]
    return "\n\n".join(sections) + "\n"


def _head(study: Study, choice: Choice, refitted: bool) -> str:
    again = " It was then trained once more, on training and validation samples." * refitted
    return (
        f"# {_md(choice.label)}, trained on {_md(study.data['name'])}\n\n"
        f"A classifier of {len(study.data['class_names'])} classes, written by counterpoise "
        f"{counterpoise.__version__} from a comparison of {len(study.labels)} variants over "
        f"{len(study.plan.seeds)} seeds. Of these variants, {_md(choice.label)} was taken: "
        f"{_md(choice.why)}. Weights: {_md(choice.seeds)}.{again}"
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
    onnx = [name for part in parts for name in part.files if name.endswith(".onnx")]
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


def _scores(study: Study, choice: Choice, refitted: bool) -> str:
    metric = study.plan.metric
    shown = [name for name in METRICS if _values(study, choice.label, name)]
    rows = []
    for name in shown:
        values = _values(study, choice.label, name)
        found = stats.t_interval(values)
        bounds = "–" if found.low is None else f"{found.low:.3f} to {found.high:.3f}"
        label = METRICS[name].label + (" (the study's metric)" if name == metric else "")
        rows.append((label, f"{mean(values):.3f}", bounds))
    text = "## Scores\n\n" + (
        f"Of {_md(choice.label)} {study.on_test}, over its seeds, with 95% intervals for new seeds"
        + (
            "; they are an estimate for this model, which has seen the validation samples, too"
            if refitted
            else ""
        )
        + ":\n\n"
    )
    text += _table(("metric", "mean", "interval"), rows)
    compared = [(label, _values(study, label, metric)) for label in study.labels]
    others = [
        (k, [x for x in v.values() if x is not None]) for k, v in study.reference_scores().items()
    ]
    rows = [(label, f"{mean(v):.3f}" if v else "–") for label, v in (*compared, *others)]
    return f"{text}\n\nAll that was compared, by {METRICS[metric].label}:\n\n" + _table(
        ("", "mean"), rows
    )


def _values(study: Study, label: str, metric: str) -> list[float]:
    every = study.scores(metric) | study.reference_scores(metric)
    return [x for x in every[label].values() if x is not None]


def _probabilities(content: Content) -> str:
    posterior = Posterior.from_json(content["members"][0]["posterior"])
    how = {
        "none": "They are not calibrated.",
        "temperature": f"They are calibrated by a temperature, {posterior.temperature:.2f}",
        "vector": f"They are calibrated by a temperature, {posterior.temperature:.2f}, and a bias "
        "for each class",
        "isotonic": "They are calibrated by isotonic regression of each class",
    }[posterior.method]
    on = f", fitted on {posterior.samples:,} validation samples." if posterior.samples else ""
    exact = (
        f"The loss has no exact formula for them ({posterior.link.approximate}), so that they rest "
        "on this fit."
        if posterior.link.approximate
        else "What loss and sampler do to them is undone exactly."
    )
    return (
        "## Probabilities\n\nThey are for data whose classes occur as often as in the training "
        f"data. {exact} {how}{on} `prior=` (`--prior`) moves them to other class shares."
    )


def _decision(content: Content, decided: Sequence[str]) -> str:
    rule = Rule.from_json(content["rule"])
    lines = [_RULES[rule.kind], *map(_md, decided)]
    return "## Decision\n\n" + "\n\n".join(lines)


def _data(study: Study, choice: Choice) -> str:
    counts = choice.records[0].run
    rows = [
        (name, f"{n:,}", f"{m:,}")
        for name, n, m in zip(
            study.data["class_names"],
            counts["train_counts"],
            counts["test"]["support"],
            strict=True,
        )
    ]
    text = f"## Data\n\n{_md(study.data['source'])}; fingerprint `{study.data['fingerprint']}`.\n\n"
    notes = "".join(f"\n- {_md(n)}" for n in (*study.data["notes"], *study.data["left_out"]))
    return text + _table(("class", "training samples", "test samples"), rows) + "\n" + notes


def _limits(study: Study, choice: Choice, refitted: bool) -> str:
    k, metric = len(study.labels), METRICS[study.plan.metric].label
    lines = []
    if k > 1 and choice.optimism is not None:
        lines.append(
            f"Its test score is optimistic by the choice: the best of {k} variants that are "
            f"equally good would have a {metric} of at most {100 * choice.optimism:.1f} points "
            "above the truth, on average."
        )
    elif k > 1:
        lines.append(
            "Its test score is optimistic by the choice among the variants; one seed "
            "does not say by how much."
        )
    few = [
        name
        for name, n in zip(
            study.data["class_names"], choice.records[0].run["test"]["support"], strict=True
        )
        if n < 20
    ]
    if few:
        lines.append(
            f"{len(few)} of its classes have fewer than 20 test samples, among them "
            f"{', '.join(map(_md, few[:3]))}: how well they are found is hardly known."
        )
    lines.append("It knows nothing but these classes: every sample gets one of them.")
    lines.append(
        "Data of another kind, such as photographs of another camera, are not covered by "
        "these scores."
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


def _md(value: object) -> str:
    """Return text in one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(printable(value).split()))
