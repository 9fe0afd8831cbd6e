"""`counterpoise judge`: whether differences between runs of any origin are more than noise."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from counterpoise.cli._arguments import Flag, MaybeFilePath, Whole, Words, path_of
from counterpoise.cli._compare import writing

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from counterpoise.judgement import Judgement

_CODES = {"better": 0, "no difference that matters": 3, "worse": 4, "cannot tell yet": 5}
_FAILED = 6
_NARROW = 72  # characters, below which numbers would leave no room for names
_COLORS = {"better": "green", "worse": "red", "baseline": "dim"}


def judge(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True)],
    variant: str | None = None,
    seed: str | None = None,
    metric: Words = None,
    dataset: str | None = None,
    epoch: str | None = None,
    baseline: str | None = None,
    margin: float | None = None,
    lower_is_better: bool | None = None,
    looks: Whole = 1,
    unpaired: Flag = False,
    chance: float | None = None,
    json: Flag = False,
    html: MaybeFilePath = None,
    exit_code: Words = None,
) -> int:
    """Say whether runs that you have already differ, or whether it is noise.

    Nothing is trained, and nothing is written but the page that is asked for.

    Parameters
    ----------
    files
        Tables with a row a run (.csv, .parquet, .jsonl; - for standard input), or what MLflow, W&B,
        TensorBoard, Lightning and transformers leave behind.
    variant
        The column that names what is compared; name for the runs' names, without their seeds
        [default: by its name].
    seed
        The column of seeds; equal seeds are paired [default: by its name].
    metric
        Columns of scores; the first decides, others are secondary.
    dataset
        The column of data sets [default: by its name].
    epoch
        Where there is a row an epoch: last, or best:COLUMN.
    baseline
        The variant that all others are compared with [default: one named baseline, base, default,
        control, vanilla, main or plain, else the first].
    margin
        The smallest difference that matters, in units of the metric: 0.01 is one point of a share
        [default: a guess, which is said].
    lower_is_better
        Of the first metric [default: by its name].
    looks
        How often you will judge these runs while you add seeds.
    unpaired
        Equal seeds mean nothing.
    chance
        The score of a guess, to report runs that did not learn.
    json
        Print it as JSON (docs/judge.md).
    html
        A file for a page of it.
    exit_code
        Exit with 0 better, 3 no difference that matters, 4 worse, 5 cannot tell, 6 a run failed:
        of the variant that is named behind it, else of the best one.
    """
    from counterpoise import judgement
    from counterpoise.cli._shown import Output, shown, waiting, write_json
    from counterpoise.sealed import to_json

    if not files:
        raise ValueError("judge needs a file or folder of runs before all options; - reads a pipe")
    if odd := [name for name in files if name.startswith("-") and name != "-"]:
        raise ValueError(
            f"judge has no option {odd[0]}; `counterpoise judge --help` lists them all"
        )
    if exit_code and len(exit_code) > 1:
        raise ValueError(f"--exit-code needs one variant, but got {' '.join(exit_code)}")
    with waiting("judging the runs"):
        found = judgement.judge(
            [name if name == "-" or "://" in name else path_of(name) for name in files],
            variant=variant or "",
            seed=seed or "",
            metric=metric or (),
            dataset=dataset or "",
            epoch=epoch or "",
            baseline=baseline or "",
            margin=margin,
            lower_is_better=lower_is_better,
            looks=looks,
            unpaired=unpaired,
            chance=chance,
        )
    code = 0 if exit_code is None else _code(found, *exit_code)
    if html is not None:
        from counterpoise.report import render_judgement

        with writing(html, "--html"):
            render_judgement(found, html)
    if json:
        write_json(to_json(found.to_json()))
        return code
    console = Output()
    show_judgement(console, found)
    if html is not None:
        console.print(shown("\nThe page: ", (html, "bold")), soft_wrap=True)
    return code


def _code(found: "Judgement", variant: str | None = None) -> int:
    """Return the exit code of the verdict, or of a failed run before it.

    Over data sets none is "no difference".
    """
    from counterpoise.judgement import named

    others = [name for name in found.variants if name != found.baseline]
    name = found.best if variant is None else named(others, variant, "variant besides the baseline")
    if name is None or found.lost(name):
        return _FAILED
    if found.datasets:
        sides = {row.variant: row.direction for row in found.datasets.against}
        return _CODES[{1: "better", -1: "worse"}.get(sides.get(name, 0), "cannot tell yet")]
    words = {v.variant: v.verdict for v in found.verdicts}
    return _CODES[words.get(name, "cannot tell yet")]


def show_judgement(console: "Console", found: "Judgement") -> None:
    """Print verdicts: what was read and guessed, tables, and a sentence a variant."""
    from counterpoise.cli._shown import shown
    from counterpoise.judgement import HEAD
    from counterpoise.text import one_line

    def say(*parts: str | tuple[str, str]) -> None:
        console.print(shown(*parts), soft_wrap=True)

    say(one_line(found.read))
    for line in found.failures:
        say(("Failed: ", "red"), one_line(line))
    for line in found.warnings:
        say(("Beware: ", "yellow"), one_line(line))
    for line in found.notes:
        say((f"  {one_line(line)}", "dim"))
    narrow = console.width < _NARROW
    if found.datasets:
        console.print(_table(*found.datasets_rows(), narrow))
    for family in found.families:
        console.print(_table((family.dataset, *HEAD[1:]), family.rows(), narrow))
    if found.datasets is None:
        for line in found.answer:
            say(one_line(line))
    if found.secondary:
        console.print(_table(*found.secondary_rows(), narrow))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], narrow: bool = False) -> "Table":
    """Return a table whose numbers are on one line, and if it is narrow, folded as its words."""
    from rich.box import SIMPLE
    from rich.table import Table

    from counterpoise.cli._shown import shown

    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for k, title in enumerate(head):
        words = not k or title == "verdict"
        justify = "left" if words else "right"
        table.add_column(
            shown(title),
            justify=justify,
            overflow="fold",
            no_wrap=not words and not narrow,
            min_width=4 if narrow else None,
        )
    for row in rows:
        table.add_row(*(shown((cell, _COLORS.get(cell.partition(",")[0], ""))) for cell in row))
    return table
