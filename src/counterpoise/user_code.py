"""Code of users: import by name, and the place of an error in it."""

import difflib
import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

_OURS = Path(__file__).parent
_PYTHON = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib")}
_INSTALLED = {"site-packages", "dist-packages"}


def source_file(module: str) -> Path | None:
    """Return the source file of a module; None where there is none.

    Raises:
        ValueError: a parent package that raises while it is imported to find the module.
    """
    if not module:
        return None
    _use_current_folder()
    try:
        spec = importlib.util.find_spec(module)
        origin = spec.origin if spec is not None else None
        return Path(origin) if origin is not None and Path(origin).is_file() else None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if _is_missing(module, error):
            return None
        raise ValueError(f"{module!r} must have a source, but {raised(error)}") from error


def raised(error: BaseException) -> str:
    """Return type and message of an error, and the line of the user's code that raised it.

    Example:
        >>> try:
        ...     int("x")
        ... except ValueError as error:
        ...     print(raised(error).partition(" (")[0])
        ValueError: invalid literal for int() with base 10: 'x'
    """
    try:
        text = str(error)
    except Exception:  # of a class of the user's
        text = "(its text cannot be made)"
    words = f"{type(error).__name__}: {text}" if text else type(error).__name__
    location = _location(error)
    return f"{words} ({location})" if location else words


def _location(error: BaseException) -> str | None:
    """Return file:line of the last call outside of any library; None if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shortened(error.filename)}:{error.lineno}"
    calls = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(error.__traceback__)]
    own = [f"{_shortened(file)}:{line}" for file, line in calls if owner(file) == "user"]
    return own[-1] if own else None


def owner(file: str) -> str:
    """Return the owner of a source file: "counterpoise", "library" or "user".

    A library is Python's own or that of an installed package.

    Example:
        >>> owner(__file__), owner(traceback.__file__), owner("mine.py")
        ('counterpoise', 'library', 'user')
    """
    path = Path(file)
    if path.is_relative_to(_OURS):
        return "counterpoise"
    installed = not _INSTALLED.isdisjoint(path.parts)
    if file.startswith("<") or installed or any(path.is_relative_to(p) for p in _PYTHON if p):
        return "library"
    return "user"


def _shortened(file: str) -> str:
    """Return a path relative to the current folder, if it lies below it."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere; or there is no current folder any more
        return file


def import_name(kind: str, word: str) -> Any:
    """Import and return the object `package.module:name`; modules of the current folder count.

    Args:
        kind: the kind of object, for the error message, such as "loss".
        word: the name.

    Raises:
        ValueError: there is no such module or name, or the module raises.
    """
    module, _, name = word.partition(":")
    _use_current_folder()
    found: object = None
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module can raise anything, and exit
        absent = found is not None and isinstance(error, AttributeError)
        if not (absent or _is_missing(module, error)):
            raise ValueError(
                f"{kind} {word!r} must name something that can be imported, but {raised(error)}"
            ) from error
        near = difflib.get_close_matches(name, dir(found) if found else (), n=1)
        hint = (
            f"did you mean '{module}:{near[0]}'?"
            if near
            else ("check the spelling, and that the module is installed or in the current folder")
        )
        raise ValueError(
            f"{kind} {word!r} must name something that can be imported, but: {error}; {hint}"
        ) from error
    return found


def _is_missing(module: str, error: BaseException) -> bool:
    """Return whether an import failed because there is no such module."""
    if isinstance(error, ModuleNotFoundError):
        return error.name is not None and f"{module}.".startswith(f"{error.name}.")
    machinery = (__file__, importlib.__file__)  # refuses "", ".module", "__main__"
    return isinstance(error, ValueError | TypeError | ImportError) and all(
        frame.f_code.co_filename.startswith("<") or frame.f_code.co_filename in machinery
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def use_folder(folder: Path) -> None:
    """Put a folder on the import path, before the current one."""
    _use_current_folder()
    sys.path.insert(0, str(folder))


def _use_current_folder() -> None:
    """Put the current folder on the import path, as `python -m` does."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
