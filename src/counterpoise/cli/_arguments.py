"""Types of arguments that are stricter than cyclopts's."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter, Token


def _whole(_: object, tokens: Sequence[Token]) -> int:
    """Convert a whole number; int() of a float would truncate 1.5 epochs to 1."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(f"must be a whole number of at most 18 digits, but got {text!r}")
    return int(text)


def _seeds(_: object, tokens: Sequence[Token]) -> int | str:
    """Convert a number of seeds; `auto` and `auto:N` stay words, which a plan checks."""
    return text if (text := tokens[0].value).startswith("auto") else _whole(_, tokens)


def _path(_: object, tokens: Sequence[Token]) -> Path:
    """Convert a path, with ~ and ~user expanded."""
    return path_of(tokens[0].value)


def path_of(text: str) -> Path:
    """Return a path with ~ and ~user expanded.

    Raises:
        ValueError: an impossible file name, or an unknown user.
    """
    if "\0" in text or not text:
        raise ValueError(f"must be the name of a file or folder, but got {text!r}")
    try:
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError as error:  # of pathlib, for a home that cannot be found
        user = text.partition("/")[0]
        raise ValueError(f"{text!r} begins with {user}, but there is no such user here") from error


def check_name(name: str) -> None:
    """Refuse a name of data that cannot be written in a plan, or of an unknown user's home.

    Raises:
        ValueError: such a name.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"names must be UTF-8, but got {name!r}; rename it") from None
    if name.startswith("~"):
        path_of(name)


def of(*tables: Iterable[str], more: str = "", default: str) -> Parameter:
    """Return the help of an option that names members of families."""
    return Parameter(help=f"{', '.join(chain(*tables))}{more} [default: {default}].")


def also(help: str) -> Parameter:
    """Return the help of what is done unless --no-NAME is given."""
    return Parameter(help=f"{help} [default: yes].")


def panel(title: str) -> Parameter:
    """Return the place of an option in the help: a panel below the first one."""
    return Parameter(group=Group.create_ordered(title))


Flag = Annotated[bool, Parameter(negative="")]
Words = Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True, negative="")]
Whole = Annotated[int, Parameter(converter=_whole)]
MaybeWhole = Annotated[int | None, Parameter(converter=_whole)]
Seeds = Annotated[int | str | None, Parameter(converter=_seeds)]
FilePath = Annotated[Path, Parameter(converter=_path)]
MaybeFilePath = Annotated[Path | None, Parameter(converter=_path)]
