"""The cyclopts application: all commands."""

import os

from cyclopts import App, CycloptsError

import counterpoise
from counterpoise.cli._cache import cache
from counterpoise.cli._compare import compare, plan, report, show
from counterpoise.cli._data import data
from counterpoise.cli._demo import demo
from counterpoise.cli._doctor import doctor
from counterpoise.cli._env import env
from counterpoise.cli._errors import DEBUG, without_debug
from counterpoise.cli._explain import explain
from counterpoise.cli._export import export
from counterpoise.cli._judge import judge
from counterpoise.cli._predict import predict
from counterpoise.cli._shown import Output

app = App(
    name="counterpoise",
    help="Train classifiers on imbalanced data, and know what really helped.\n\n"
    f"With --debug anywhere, or {DEBUG}=1, an error comes with its whole traceback.",
    version=counterpoise.__version__,
    console=Output(),
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # ours says how to resume
)
_COMMANDS = (
    *(compare, judge, data, plan, show, report, export, predict, explain),
    *(doctor, demo, cache, env),
)
for command in _COMMANDS:
    app.command(command)


def run(words: list[str]) -> int:
    """Parse the arguments, run the command and return the exit code.

    Raises:
        ValueError: arguments that cannot be parsed.
    """
    try:
        os.getcwd()
    except OSError as error:  # torch's libraries end the process where it is missing
        raise ValueError(f"the current folder must be there: {error.strerror}") from error
    try:
        return app(without_debug(words), exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        raise ValueError(str(error)) from error
