"""Words that people type, turned into what they mean."""

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def find(kind: str, word: str, table: Mapping[str, Any]) -> Any:
    """Return the entry of a table, or the object that `package.module:name` names.

    Args:
        kind: what the word stands for, for the error message: "loss", "norm".
        word: a key of the table, or `package.module:name`; modules in the current folder count.
        table: the words that need no import.

    Raises:
        ValueError: neither; the message holds the nearest valid word.

    Example:
        >>> find("number", "one", {"one": 1, "two": 2})
        1
        >>> find("number", "math:pi", {}) > 3
        True
    """
    if word in table:
        return table[word]
    if ":" in word:
        return _import(kind, word)
    raise ValueError(unknown(kind, word, table))


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Say that a word is not known, and which one may be meant.

    Example:
        >>> unknown("loss", "focl", ["focal", "ldam"])
        "loss must be one of focal, ldam, but got 'focl'; did you mean 'focal'?"
    """
    known = list(known)
    begins = [k for k in known if word and k.startswith(str(word))]
    near = begins or difflib.get_close_matches(str(word), known, n=1, cutoff=0.0)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{kind} must be one of {', '.join(known)}, but got {word!r}{meant}"


def name_of(thing: Any) -> str:
    """Return the word for a thing: itself if it is a word, else `package.module:name`.

    Raises:
        ValueError: what cannot be imported by a name, such as a lambda or what a script defines.

    Example:
        >>> import math
        >>> name_of("focal"), name_of(math.sqrt)
        ('focal', 'math:sqrt')
    """
    if isinstance(thing, str):
        return thing
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "<")
    if module in (None, "__main__") or "<" in name:
        raise ValueError(
            f"{thing!r} must be importable, as every run has a process of its own; put it into a "
            "module (a file beside the script will do) and give 'module:name'"
        )
    return f"{module}:{name}"


def source_digest(word: str) -> str | None:
    """Return a digest of the file that `package.module:name` lives in; None for other words."""
    if ":" not in word:
        return None
    _look_here()
    spec = importlib.util.find_spec(word.partition(":")[0])
    origin = spec.origin if spec is not None else None
    if origin is None or not Path(origin).is_file():
        return None
    return hashlib.sha256(Path(origin).read_bytes()).hexdigest()[:16]


def _import(kind: str, word: str) -> Any:
    module, _, name = word.partition(":")
    _look_here()
    found: Any = None
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
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


def _look_here() -> None:
    """Let modules of the current folder be found, as with `python -m`."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
