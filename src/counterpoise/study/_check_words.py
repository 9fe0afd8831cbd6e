"""Words of a plan, checked against those that are known, and shown in messages."""

from collections.abc import Iterable
from reprlib import Repr

from counterpoise.registry import unknown
from counterpoise.text import one_line

_short = Repr()
_short.maxstring = _short.maxother = 120


def shown(value: object) -> str:
    """Return a value as a message shows it: on one line, and no longer than people read."""
    try:
        return one_line(_short.repr(value))
    except Exception:  # an integer of 10,000 digits has no text
        return f"a {type(value).__name__}"


def check_word(kind: str, word: str, known: Iterable[str], imports: bool = True) -> None:
    """Refuse a word that is none of those that are known, and, with `imports`, no module:name.

    Raises:
        ValueError: it is neither; the message has the nearest word.
    """
    if word not in known and not (imports and ":" in str(word)):
        more = (*known, "module:name") if imports else known
        raise ValueError(unknown(kind, word, more))
