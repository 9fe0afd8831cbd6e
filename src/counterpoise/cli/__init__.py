"""Words to one call to a printed answer; nothing else."""

import sys
import warnings
from typing import Any

from cyclopts import App, CycloptsError

import counterpoise
from counterpoise.cli._compare import compare, plan, report, show
from counterpoise.cli._demo import demo
from counterpoise.cli._doctor import doctor

app = App(
    name="counterpoise",
    help="Train classifiers on imbalanced data, and know what really helped.",
    version=counterpoise.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # ours says how to go on
)
for command in (compare, plan, show, report, doctor, demo):
    app.command(command)


def main() -> None:
    """The command `counterpoise`. Bad input: one line and exit code 2; a failed run: 1."""
    warnings.showwarning = _warn
    try:
        sys.exit(app(exit_on_error=False, print_error=False))
    except CycloptsError as error:
        _stop(" ".join(str(error).split()))
    except (ValueError, TypeError) as error:
        _stop(" ".join(str(error).split()))
    except KeyboardInterrupt:
        _stop("stopped; finished runs are kept, the same command goes on from there", 130)


def _warn(
    message: Warning | str,
    category: Any,
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    print(f"counterpoise: {message}", file=sys.stderr)  # noqa: T201 without the line of the code


def _stop(line: str, code: int = 2) -> None:
    print(f"counterpoise: {line}", file=sys.stderr)  # noqa: T201 the answer to bad input
    sys.exit(code)
