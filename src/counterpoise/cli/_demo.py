"""`counterpoise demo`: the exercise."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.cli._arguments import Flag, MaybeFilePath, MaybeWhole, Whole
from counterpoise.cli._shown import Output, shown
from counterpoise.text import one_line

if TYPE_CHECKING:
    from rich.console import Console


def demo(
    *,
    quick: Flag = False,
    out: MaybeFilePath = None,
    seed: Whole = 0,
    workers: MaybeWhole = None,
    apt: Flag = False,
    all: Flag = False,
) -> int:
    """Run the exercise on FashionMNIST: train, compare, explain.

    Part 1 trains a 16-conv CNN plain, with LayerNorm and with GroupNorm. Part 2 trains a 4-conv CNN
    on an imbalanced set with cross entropy and with focal loss. By default in full, as the exercise
    asks; some minutes on two cores. What is finished is kept, so the command can be repeated.

    Parameters
    ----------
    quick
        Fewer images: about a minute instead of the full exercise.
    out
        Folder for the results [default: runs/demo, with --quick runs/demo-quick].
    seed
        Of initial weights and sample order.
    workers
        Runs at a time [default: one a core].
    apt
        Where FashionMNIST cannot be downloaded, install Debian's package of it (needs root).
    all
        Print every finding, too; they are in findings.txt beside the pictures.
    """
    from counterpoise.cli._board import Board
    from counterpoise.exercise import demo as exercise
    from counterpoise.study import stream

    if seed < 0 or (workers is not None and workers < 1):
        raise ValueError(f"--seed must be >= 0 and --workers >= 1, but got {seed} and {workers}")
    console = Output()
    folder = out or Path("runs/demo-quick" if quick else "runs/demo")
    plans = exercise.plans(_find_data(console, apt), quick, seed)
    board = Board(console, "accuracy", titles=exercise.TITLES)
    board.watch(stream({folder / name: plan for name, plan in plans.items()}, workers=workers))
    if board.failed:
        for name, reason in board.failed.items():
            said = shown((f"{name} failed:", "red"), f" {one_line(reason)}")
            console.print(said, soft_wrap=True)
        said = f"The other runs are kept in {folder}; the same command tries again."
        console.print(shown(said), soft_wrap=True)
        return 1
    _show(console, exercise.explain(folder), folder, all)
    return 0


def _find_data(console: "Console", apt: bool) -> str:
    """Make sure that the data can be loaded, and name them."""
    from counterpoise import data

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            found = data.fashion_mnist(progress=console.is_terminal)
        except data.DataNotFound as error:
            if not (apt and data.install_debian_package()):
                said = f"{one_line(error)}\nRunning on scikit-learn's digits instead."
                console.print(shown((said, "yellow")), soft_wrap=True)
                return "digits"
            found = data.fashion_mnist(download=False)
    for warning in caught:
        console.print(shown((one_line(warning.message), "yellow")), soft_wrap=True)
    console.print(shown(f"Data: {one_line(found.source)}"), soft_wrap=True)
    return "fashion_mnist"


def _show(console: "Console", results: dict[str, Any], folder: Path, every: bool = False) -> None:
    """Print the comparison and where to look."""
    from rich.table import Table

    from counterpoise.exercise.demo import FINDINGS, tables

    console.print()
    source = f" ({one_line(results['data'])})"
    for title, head, rows in tables(results):
        console.print(shown((title, "bold"), source))
        table, source = Table(), ""
        for i, column in enumerate(head):
            table.add_column(shown(column), justify="right" if i else "left")
        for row in rows:
            table.add_row(*map(shown, row))
        console.print(table)
    for finding in results["findings"] if every else ():
        said = shown((finding["code"], "cyan"), f" {one_line(finding['text'])}")
        console.print(said, soft_wrap=True)
    for line in results["summary"]:
        console.print(shown(one_line(line)), soft_wrap=True)
    more = "" if every else f", and every finding is in {FINDINGS} (--all prints them)"
    console.print(shown("The pictures are in ", (folder, "bold"), more), soft_wrap=True)
