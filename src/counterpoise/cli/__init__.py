"""The command line: from arguments to one call of the library and its printed result.

Slow imports are made in `main`, where Ctrl-C is handled.
"""

import sys


def main() -> None:
    """Run the command `counterpoise`; exit codes: `_errors.py`."""
    try:
        from counterpoise.cli._streams import prepare

        prepare()
        from counterpoise.cli._app import run

        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            import signal

            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would cut the line short
        from counterpoise.cli._errors import answer

        code = answer(error)
    sys.exit(code)
