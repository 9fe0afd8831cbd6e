"""`counterpoise export`: the model of a study, to take home."""

from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.cli._arguments import FilePath, Flag, MaybeFilePath, Words
from counterpoise.cli._compare import writing

if TYPE_CHECKING:
    pass


def export(
    study: FilePath,
    *,
    variant: str = "",
    out: MaybeFilePath = None,
    ensemble: Flag = False,
    refit: Flag = False,
    calibration: str = "auto",
    probable: Flag = False,
    costs: MaybeFilePath = None,
    threshold: Words = None,
    recall: Words = None,
    abstain: float = 0.0,
    sets: float = 0.0,
    json: Flag = False,
) -> int:
    """Write a study's model into a folder that `counterpoise predict` works from, anywhere.

    Nothing is trained, unless --refit asks for it. The folder has a model card, README.md.

    Parameters
    ----------
    study
        The study's folder.
    variant
        Its label [default: the best by the verdicts, or the cheapest that is as good].
    out
        The folder to write [default: export in the study's folder].
    ensemble
        Average the probabilities of all seeds [default: the seed with the best validation score].
    refit
        Train once more, on training and validation samples together.
    calibration
        temperature, vector, isotonic or none [default: by what is known of the loss].
    probable
        Give the most probable class [default: that of the highest logit, as the study scores].
    costs
        A CSV of what errors cost, true classes in rows, given ones in columns.
    threshold
        CLASS=0.3: give the class from this probability on.
    recall
        CLASS=0.95: the same, with the threshold that validation samples say gives this recall.
    abstain
        The share of the samples that may get no class, the least certain ones, such as 0.02.
    sets
        Give each sample a set of classes that holds its own this often, such as 0.9.
    json
        Print what was done as JSON.
    """
    from counterpoise.cli._shown import Output, shown, waiting, write_json
    from counterpoise.export import Wanted, check_place
    from counterpoise.export import export as write
    from counterpoise.sealed import to_json
    from counterpoise.study import open_study

    found, console = open_study(study), Output()
    folder = out or study / "export"
    check_place(folder)
    for option, share in (("--abstain", abstain), ("--sets", sets)):
        if not 0 <= share < 1:
            raise ValueError(f"{option} must be a share from 0 to below 1, but got {share:g}")
    wanted = Wanted(
        probable,
        _costs(costs, found.data["class_names"]),
        _by_class("--threshold", threshold),
        _by_class("--recall", recall),
        abstain,
        sets,
    )
    with writing(folder), waiting("exporting") as say:
        done = write(
            found,
            folder,
            variant=variant,
            ensemble=ensemble,
            refit=refit,
            calibration=calibration,  # type: ignore[arg-type]
            wanted=wanted,
            say=say,
        )
    if json:
        content = {"folder": str(done.folder), "variant": done.label, "lines": list(done.lines)}
        write_json(to_json(content))
        return 0
    for line in done.lines:
        console.print(shown(line), soft_wrap=True)
    console.print(shown("The model: ", (done.folder, "bold")), soft_wrap=True)
    console.print(
        shown(f"counterpoise predict {done.folder} NEW_DATA --out predictions.csv"), soft_wrap=True
    )
    return 0


def _costs(path: Path | None, names: list[str]) -> tuple[tuple[float, ...], ...]:
    from counterpoise.decisions import read_costs

    return () if path is None else read_costs(path, names)


def _by_class(option: str, words: tuple[str, ...] | None) -> dict[str, float]:
    """Parse CLASS=0.3; a class may have = in its name."""
    found = {}
    for word in words or ():
        name, _, text = word.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not name or not 0 < value < 1:
            raise ValueError(f"{option} must be like CLASS=0.3, from 0 to 1, but got {word!r}")
        if name in found:
            raise ValueError(f"{option} must name each class once, but names {name} twice")
        found[name] = value
    return found
