"""Errors of a command, as one line and an exit code.

0     success
1     a run failed, a net will not learn
2     an error of the input, the machine or the user's own code
3-5   the verdict of `judge --exit-code`
70    a bug of counterpoise; the traceback is in a file
130   Ctrl-C
141   a broken pipe; without a line
"""

import os
import platform
import sys
import tempfile
import traceback

import rich

import counterpoise
from counterpoise.cli._streams import drop_output, print_error
from counterpoise.text import one_line, printable
from counterpoise.user_code import owner, raised

DEBUG = "COUNTERPOISE_DEBUG"
BAD, BUG, STOPPED, UNREAD = 2, 70, 130, 141
_LONGEST = 2000  # characters of a line
_PRINTERS = (os.path.dirname(__file__), os.path.dirname(rich.__file__))
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # torch's messages


def answer(error: BaseException) -> int:
    """Print the error that ended a command, and return the exit code."""
    code, line = explain(error)
    drop_output()
    words = sys.argv[1:]
    debug = without_debug(words) != words or os.environ.get(DEBUG, "0") not in ("", "0")
    if line and debug:
        print_error(_whole_traceback(error).removesuffix("\n"))
    if line:
        line = one_line(line)
        print_error(f"counterpoise: {line if len(line) <= _LONGEST else line[:_LONGEST] + '…'}")
    return code


def without_debug(words: list[str]) -> list[str]:
    """Return the arguments without --debug, which is no option after a --.

    Example:
        >>> without_debug(["show", "--debug", "study", "--", "--debug"])
        ['show', 'study', '--', '--debug']
    """
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word != "--debug"] + words[end:]


def explain(error: BaseException) -> tuple[int, str]:
    """Return the exit code, and the line to print, which may be empty."""
    if isinstance(error, KeyboardInterrupt):
        exec("")  # or an exec that was stopped, as in an import, makes Python end by the signal
        kept = str(error) or "finished runs are kept, the same command resumes"
        return STOPPED, "stopped" + (
            f"; {kept}" if sys.argv[1:2] in (["compare"], ["demo"]) else ""
        )
    if isinstance(error, BrokenPipeError) and _is_of_printing(error):
        return UNREAD, ""
    if _is_users(error):
        return BAD, raised(error)
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0, ""
        return BAD, str(error.code)
    if is_out_of_memory(error):
        text = str(error) or "no more can be had"
        return BAD, f"there is not enough memory: {text}; take less at a time, say --workers 1"
    if isinstance(error, RecursionError):
        return BAD, f"something is nested too deeply to be read: {error}"
    if isinstance(error, OSError):
        return BAD, _of_the_system(error)
    if isinstance(error, ValueError | TypeError):
        return BAD, str(error)
    if isinstance(error, ImportError) and not (error.name or "counterpoise").startswith("counterp"):
        return BAD, f"{error}; install counterpoise again, with all that it needs"
    return BUG, f"this is a bug of counterpoise's: {raised(error)}; {_kept(error)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    torchs = isinstance(error, RuntimeError) and any(w in str(error) for w in _OUT_OF_MEMORY)
    return torchs or isinstance(error, MemoryError)


def _whole_traceback(error: BaseException) -> str:
    """Return the traceback, with those of its causes."""
    return printable("".join(traceback.format_exception(error)))


def _is_users(error: BaseException) -> bool:
    """Return whether an error comes from the user's own code, or a library that it called."""
    owners = [owner(f.f_code.co_filename) for f, _ in traceback.walk_tb(error.__traceback__)]
    own = [who for who in owners if who != "library"]
    return bool(own) and own[-1] == "user"


def _is_of_printing(error: BaseException) -> bool:
    """Return whether an error was raised in printing, by rich or by this package."""
    calls = [f.f_code.co_filename for f, _ in traceback.walk_tb(error.__traceback__)]
    return bool(calls) and os.path.dirname(calls[-1]) in _PRINTERS


def _of_the_system(error: OSError) -> str:
    """Return the message of an error of the system, with the name of the file."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    if error.filename is None:
        printed = _is_of_printing(error)
        what = "standard output cannot be written" if printed else "writing or reading failed"
        return f"{what}: {error.strerror}"
    name = error.filename
    return f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {error.strerror}"


def _kept(error: BaseException) -> str:
    """Write the traceback into a new file, and return a sentence with its path."""
    words = (sys.argv, counterpoise.__version__, sys.version, platform.platform())
    content = "\n".join([*map(str, words), "", _whole_traceback(error)])
    try:
        descriptor, path = tempfile.mkstemp(prefix="counterpoise-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(content)
    except OSError as reason:
        return f"its traceback cannot be written ({reason.strerror}); --debug prints it"
    return f"please report it with its traceback, which is in {path}"
