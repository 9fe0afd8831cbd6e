"""The page: all sections rendered into one self-contained HTML file."""

import contextlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from counterpoise import files, findings
from counterpoise.report import (
    _after_training,
    _classes,
    _confusion,
    _decisions,
    _learning,
    _probabilities,
    _setting,
    _story,
)
from counterpoise.report._html import policy, source, template
from counterpoise.report._output import PAGE, check_output, write_page
from counterpoise.report._variants import Entry, entries
from counterpoise.stats import Verdict
from counterpoise.study import Study, open_study
from counterpoise.study.engines import remove_unfinished

_CONTENTS = {
    "verdict": "Verdict",
    "ranking": "Ranking",
    "cost": "Cost and benefit",
    "classes": "Recall by class size",
    "confusion": "Confusion",
    "curves": "Training",
    "reliability": "Calibration",
    "probabilities": "Probabilities",
    "decisions": "Decisions",
    "after": "After training",
    "flow": "Gradient flow",
    "data": "Data",
    "plan": "Plan and environment",
    "again": "Run it again",
}


def render(study: Study | str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a study: one HTML file that needs no other file, network or script.

    Of a study that is still running, or with failed runs, the finished runs are reported.

    Args:
        study: a study, or its folder.
        out: the file to write; None for report.html in the study's folder. Missing folders
            are made.

    Returns:
        The file, which is written whole or not at all.

    Raises:
        ValueError: a folder without a study in it; an `out` that is a file of the study's, or
            not an ordinary file.
        OSError: the file cannot be written.
    """
    study = study if isinstance(study, Study) else open_study(study)
    path = study.folder / PAGE if out is None else Path(out)
    check_output(study.folder, path)
    content = page(study)
    if out is None:
        with contextlib.suppress(TimeoutError), files.lock(study.folder):  # no other process writes
            remove_unfinished(study.folder)
    write_page(path, content)
    return path


def page(study: Study) -> str:
    """Return the report as HTML."""
    variants, verdicts = entries(study), study.verdicts()
    style, script = source("style.css"), source("script.js")
    sections = _sections(study, variants, verdicts)
    contents = _CONTENTS | {"ranking": _story.heading(study)}
    contents = {k: words for k, words in contents.items() if sections.get(k, True)}
    return template("page.html.j2").render(
        **_beginning(study),
        **sections,
        study=study,
        variants=variants,
        contents=contents,
        title=f"What helps on {study.data['name']}?",
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
    )


def _beginning(study: Study) -> dict[str, object]:
    """Return the contents of the first section: problems, verdict and other findings."""
    found = findings.paragraphs(findings.collect_findings(study))
    groups = [list(group) for _, group in groupby(found, lambda p: p.code)]
    return {
        "codes": findings.CODES,
        "problems": [g for g in groups if g[0].severity == "problem"],
        "results": [g for g in groups if g[0].severity == "result"],
        "others": [g for g in groups if g[0].severity not in ("problem", "result")],
        "lede": _story.lede(study),
        "unfinished": _story.unfinished(study),
        "answers": findings.answers(study),
        "failed": _story.failures(study),
        "metric": study.metric.label,
        "better": "higher" if study.metric.higher_is_better else "lower",
        "unit": "percentage points" if study.metric.unit == "%" else study.metric.unit,
        "points": study.metric.points.strip(),
        "margin": f"{study.metric.scale * study.metric.margin:g}",
    }


def _sections(
    study: Study, variants: Sequence[Entry], verdicts: Sequence[Verdict]
) -> dict[str, object]:
    probabilities = _probabilities.section(study, variants)
    return {
        "ranking": _story.ranking(study, variants, verdicts),
        "references": _story.references(study),
        "cost": _story.cost(study, variants, verdicts),
        "classes": _classes.recalls(study, variants),
        "confusion": _confusion.section(study, variants, verdicts),
        "curves": _learning.curves(variants, study.metric),
        "reliability": [] if probabilities else _learning.reliability(variants),
        "probabilities": probabilities,
        "decisions": probabilities
        and _decisions.section(study, variants, probabilities["posteriors"]),
        "older": _probabilities.OLDER,
        "after": _after_training.section(study, variants),
        "flow": _learning.flow(variants),
        "sizes": _classes.sizes(study),
        "tuning": _setting.tuning(study, variants),
        "settings": _setting.settings(study),
        "environment": _setting.environment(study),
        "again": _setting.again(study),
    }
