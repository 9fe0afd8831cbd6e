"""The folder of an exported model, out of a study's finished runs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import counterpoise
from counterpoise import files
from counterpoise.decisions import Rule
from counterpoise.export._card import card
from counterpoise.export._choose import Choice, choose
from counterpoise.export._estimate import try_estimate
from counterpoise.export._parts import Part, part_of
from counterpoise.export._rules import Wanted, rule_of
from counterpoise.inference import FORMAT, MODEL
from counterpoise.probabilities import Method, Posterior
from counterpoise.sealed import Content, digest_of, seal, unseal
from counterpoise.study import Study

Say = Callable[[str], None]
_LEFT = re.compile(r"\.new-\d+|(weights|model|features)-\d+\.\w+")  # by an export that was killed


@dataclass(frozen=True)
class Exported:
    """An export that was written.

    Attributes:
        folder: of the model.
        label: of the variant.
        lines: sentences on what was taken, why, and how its files were checked.
    """

    folder: Path
    label: str
    lines: tuple[str, ...]


def export(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    variant: str = "",
    ensemble: bool = False,
    refit: bool = False,
    calibration: Method = "auto",
    wanted: Wanted = Wanted(),  # noqa: B008 it is frozen
    programs: bool = True,
    say: Say = lambda line: None,
) -> Exported:
    """Write the model of a study into a folder that works without the study.

    Nothing is trained, but for `refit` and for classical models, which are not kept and take
    seconds. An export that is there already is replaced.

    Args:
        study: finished, or with a finished run of the variant at least; or its folder.
        out: the folder; None for `export` beside the study's own files.
        variant: the label of one, or of a reference; "" for `findings.best_variant(study)`, of
            which the study's predictions.csv is, too.
        ensemble: True for the nets of all seeds, whose probabilities are averaged; else that of the
            seed with the best validation score.
        refit: True to train once more, on training and validation split together.
        calibration: `probabilities.Posterior.fit`'s method.
        wanted: of the rule by which classes are given; the study's own, the highest logit, unless
            it says otherwise.
        programs: whether a program of torch.export and ONNX are written, too.
        say: called with what is being done.

    Raises:
        ValueError: no finished run, no such variant, a folder that holds other things, or a net
            that runs nowhere without its code.
        OSError: the folder cannot be written.

    Example:
        >>> from counterpoise import open_study
        >>> export(open_study("studies/digits"), "digits-model")  # doctest: +SKIP
    """
    found = study if isinstance(study, Study) else counterpoise.open_study(study)
    folder = found.folder / "export" if out is None else Path(out)
    check_place(folder)
    choice = choose(found, variant, ensemble)
    say(f"{choice.label}: {choice.why}; {choice.seeds}")
    rule, decided = rule_of(found, choice.records, wanted, calibration)
    posteriors = [cast(Posterior, r.posterior(calibration)) for r in choice.records]
    parts = [
        part_of(found, r, k, posterior, refit, programs, say)
        for k, (r, posterior) in enumerate(zip(choice.records, posteriors, strict=True))
    ]
    lines = [f"{choice.label}: {choice.why}", f"Weights: {choice.seeds}"]
    lines += [*decided, *(line for part in parts for line in part.lines)]
    content = _content(found, choice, parts, rule)
    content["estimate"] = try_estimate(choice.records, posteriors, content["class_names"])
    contents = {name: data for part in parts for name, data in part.files.items()}
    contents["README.md"] = card(
        found, choice, content, parts, refit, decided, calibration
    ).encode()
    known = {n: {"bytes": len(c), "sha256": digest_of(c)} for n, c in contents.items()}
    _place(folder, contents, seal({**content, "files": known}, FORMAT))
    return Exported(folder, choice.label, tuple(lines))


def check_place(folder: Path) -> None:
    """Refuse a folder that holds anything but an export.

    Raises:
        ValueError: it does, or it cannot be a folder.
    """
    ancestors = [p for p in (folder, *folder.parents) if p.exists()]
    if ancestors and not ancestors[0].is_dir():
        raise ValueError(f"--out must be a folder, but {ancestors[0]} is a file; choose another")
    there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    if not all(map(_LEFT.fullmatch, there)) and _known(folder) is None:
        raise ValueError(
            f"--out must be a new folder, or one that holds an export, but {folder} holds other "
            "things; choose another"
        )


def _known(folder: Path) -> set[str] | None:
    """Return the files of the export that is there; None where there is none."""
    try:
        return set(unseal(folder / MODEL, FORMAT)["files"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _content(study: Study, choice: Choice, parts: Sequence[Part], rule: Rule) -> Content:
    """Return what `model.json` holds, but for the files."""
    members = [
        {"seed": r.seed, "posterior": part.posterior.to_json(), **part.entry}
        for r, part in zip(choice.records, parts, strict=True)
    ]
    return {
        "counterpoise": counterpoise.__version__,
        "variant": choice.label,
        "study": study.data["name"],
        "fingerprint": study.data["fingerprint"],
        "class_names": list(study.data["class_names"]),
        "train_counts": [int(n) for n in parts[0].posterior.train_counts],
        "metric": study.plan.metric,
        "reading": dict(study.data.get("reading", {})),
        "columns": [asdict(c) for c in study.columns or ()],
        "net": parts[0].net,
        "members": members,
        "rule": rule.to_json(),
        "affine": parts[0].posterior.affine() is not None,
    }


def _place(folder: Path, contents: Mapping[str, bytes], sealed: str) -> None:
    """Write the files beside those of an earlier export, and put them in their place at the end.

    Files that no export wrote stay.
    """
    files.make_folder(folder)
    before, new = _known(folder) or set(), folder / f".new-{os.getpid()}"
    for left in folder.glob(".new-*"):
        _remove(left)
    files.make_folder(new)
    try:
        for name, content in {**contents, MODEL: sealed.encode()}.items():
            files.write(new / name, content)
        for name in (*contents, MODEL):  # the last one makes it an export
            files.move(new / name, folder / name)
    finally:
        _remove(new)
    for name in before - contents.keys():
        files.remove(folder / name)


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        files.remove(path)
    files.remove_folder(folder)
