"""Words to one call to a printed answer; nothing else.

All that takes time to import is imported in `main`, where Ctrl-C is answered.
"""

import sys


def main() -> None:
    """The command `counterpoise`; `_errors.py` lists the exit codes."""
    try:
        from counterpoise.cli._streams import prepare

        prepare()
        from counterpoise.cli._app import run

        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BaseException as error:
        from counterpoise.cli._errors import answer

        code = answer(error)
    sys.exit(code)
