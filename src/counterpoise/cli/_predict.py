"""`counterpoise predict`: a model's answers for new data."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.cli._arguments import FilePath, Flag, MaybeFilePath, check_name
from counterpoise.cli._compare import writing

if TYPE_CHECKING:
    from counterpoise.inference import Answers, Model

_ROWS, _CLASSES, _BROKEN = 10, 10, 3  # that the terminal shows


def predict(
    model: FilePath,
    data: str,
    *,
    out: MaybeFilePath = None,
    prior: str | None = None,
    target: str = "",
    force: Flag = False,
    json: Flag = False,
) -> int:
    """Predict class and probabilities of each image or row of new data.

    Files that cannot be read are named and left out, and the exit code is 1. Where the data say the
    classes, scores are printed, too.

    Parameters
    ----------
    model
        A folder that `counterpoise export` wrote; or a study's, whose best variant is taken.
    data
        A folder of images, flat or nested, an image, a table, or a .npz or .npy.
    out
        A .csv or .parquet to write: sample, predicted, and the probability of each class.
    prior
        How often each class occurs there: a CSV of classes and counts, uniform, or estimate, from
        the data [default: as in the training data].
    target
        The column of the classes, if there is one [default: as in training].
    force
        Replace --out if it is there.
    json
        Print what was found as JSON.
    """
    from counterpoise.cli._shown import Output, counting, shown, waiting, write_json
    from counterpoise.inference import scores_of, table_of, write_table
    from counterpoise.sealed import to_json

    check_name(data)
    _check_out(out, force)
    said = Output(stderr=True)
    with waiting("loading the model"):
        found = _model(model)
    given = _given(found, prior)
    with counting("predicting") as tell:
        answers = found.answers(data, target=target, on_progress=tell)
    shares = found.shares(given, answers)
    words = _said(found, answers, prior, shares)
    table = table_of(found, answers, shares)
    if out is not None:
        with writing(out):
            write_table(table, out)
    scores = scores_of(found, answers, shares)
    if json:
        counts = table["predicted"].value_counts()
        content = {"samples": len(table), "unread": dict(answers.unread), "scores": scores}
        content |= {
            "predicted": {str(k): int(n) for k, n in counts.items()},
            "notes": [*answers.notes, *words],
        }
        write_json(to_json(content))
    else:
        _show(Output(), table, scores, [*answers.notes, *words])
        if out is None:
            said.print(shown("--out predictions.csv keeps all of them"), soft_wrap=True)
        else:
            said.print(shown("Written: ", (out, "bold")), soft_wrap=True)
    broken = list(answers.unread.items())
    for name, why in broken[:_BROKEN]:
        said.print(shown(("Not read: ", "yellow"), f"{name} ({why})"), soft_wrap=True)
    if len(broken) > _BROKEN:
        said.print(shown(f"and {len(broken) - _BROKEN:,} more"), soft_wrap=True)
    return 1 if broken else 0


def _check_out(out: Path | None, force: bool) -> None:
    from counterpoise.inference import SUFFIXES

    if out is None:
        return
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--out must end in {' or '.join(SUFFIXES)}, but got {out}")
    if not out.parent.is_dir():
        raise ValueError(f"--out must be in a folder that is there, but {out.parent} is not")
    if out.exists() and not force:
        raise ValueError(f"--out must be a new file, but {out} is there; --force replaces it")


def _model(folder: Path) -> "Model":
    """Load an export, or make one of a study, which is not kept."""
    from counterpoise.inference import load
    from counterpoise.study import STUDY

    if not (folder / STUDY).exists():
        return load(folder)
    from counterpoise.cli._shown import Output, shown
    from counterpoise.export import export

    with tempfile.TemporaryDirectory() as made:
        done = export(folder, Path(made), programs=False)
        Output(stderr=True).print(shown("The study's model: ", done.lines[0]), soft_wrap=True)
        return load(done.folder)


def _given(model: "Model", prior: str | None) -> Any:
    """Return the prior that is asked for, refused before anything is predicted if it cannot be."""
    from counterpoise.inference import read_shares

    if prior == "estimate":
        model.check_estimate()
    if prior in (None, "uniform", "estimate"):
        return prior
    if not Path(prior).is_file():
        raise ValueError(
            "--prior must be uniform, estimate, or a CSV of classes and counts, but got "
            f"{prior!r}, and there is no such file"
        )
    return read_shares(Path(prior), model.classes)


def _said(model: "Model", answers: "Answers", prior: str | None, shares: Any) -> list[str]:
    """Return what there is to say of the class shares."""
    if prior is None:
        return []
    words = []
    if prior == "estimate":
        named = sorted(
            zip(model.classes, map(float, shares), strict=True), key=lambda pair: -pair[1]
        )
        words.append(
            f"Class shares estimated from {answers.read.sum():,} samples: "
            + ", ".join(f"{name} {share:.1%}" for name, share in named[:_CLASSES])
            + "; right only where each class looks as in the training data"
        )
    if model.rule.kind in ("study", "thresholds"):
        words.append(
            "--prior moves the probabilities; the classes are given as before, by "
            + ("the highest logit" if model.rule.kind == "study" else "thresholds")
            + " (counterpoise export --probable or --costs gives them by probability)"
        )
    return words


def _show(console: Any, table: Any, scores: dict[str, float], words: list[str]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from counterpoise.cli._shown import shown
    from counterpoise.text import one_line

    for line in words:
        console.print(shown(one_line(line)), soft_wrap=True)
    drawn = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    named = [c for c in ("sample", "predicted", "set", "label") if c in table]
    for title in (*named, "probability of it"):
        drawn.add_column(title, overflow="fold")
    for row in table.head(_ROWS).to_dict("records"):
        p = row.get(f"p:{row['predicted']}")
        cells = [shown(one_line(row[c])) for c in named]
        drawn.add_row(*cells, "–" if p is None else f"{p:.3f}")
    console.print(drawn)
    if len(table) > _ROWS:
        console.print(shown(f"and {len(table) - _ROWS:,} more"))
    counts = table["predicted"].value_counts()
    for name, n in list(counts.items())[:_CLASSES]:
        console.print(shown(f"{n:>9,}  ", one_line(name) or "no class"), soft_wrap=True)
    if len(counts) > _CLASSES:
        console.print(shown(f"and {len(counts) - _CLASSES:,} more classes"))
    if scores:
        console.print(
            shown(
                f"Of {scores['samples']:,} samples with a label: balanced accuracy "
                f"{scores['balanced_accuracy']:.1%}, accuracy {scores['accuracy']:.1%}, "
                f"log-loss {scores['nll']:.3f}"
            ),
            soft_wrap=True,
        )
