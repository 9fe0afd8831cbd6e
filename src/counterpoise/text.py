"""Escaping of text from data, nets, files and exceptions.

`printable` is for every output. `cli/_shown.py` escapes for rich, `plots/_paper.py` for Matplotlib,
`report/_svg.py` for the report's HTML, and `html` here for that of notebooks.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

_UNSAFE = ("Cc", "Cs", "Zl", "Zp")  # controls, halves of a pair, separators of lines
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def printable(value: object) -> str:
    r"""Return text with control characters escaped, except tabs and newlines.

    Example:
        >>> printable("\x1b[2J and a class named [/b]")
        '\\x1b[2J and a class named [/b]'
    """
    text = str(value)
    if text.isprintable():  # nearly all is, and a page holds a million characters
        return text
    return "".join(ascii(c)[1:-1] if _obeyed(c) else c for c in text)


def one_line(value: object) -> str:
    r"""Return `printable` text on one line, with runs of white space as one space.

    Example:
        >>> one_line("two\n  lines")
        'two lines'
    """
    return " ".join(printable(value).split())


def printable_json(text: str) -> str:
    r"""Return equivalent JSON with control characters escaped.

    Example:
        >>> printable_json('{"class": "\x9b2J"}')
        '{"class": "\\u009b2J"}'
    """
    return "".join(f"\\u{ord(c):04x}" if _obeyed(c) else c for c in text)


def _obeyed(c: str) -> bool:
    if c.isprintable() or c in "\t\n":
        return False
    return unicodedata.category(c) in _UNSAFE or c in _BIDIRECTIONAL


def html(value: object) -> str:
    r"""Return `printable` text escaped for HTML, between tags and in attributes.

    Example:
        >>> html("<b>\x00")
        '&lt;b&gt;\\x00'
    """
    return escape(printable(value))


def html_table(title: object, head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as HTML, for notebooks: text escaped, and all colors those of the page."""
    lines = [f"<p>{html(title)}</p>" if title else "", "<table>"]
    for tag, cells in (("th", head), *(("td", row) for row in rows)):
        row = "".join(f'<{tag} style="text-align: left">{html(cell)}</{tag}>' for cell in cells)
        lines.append(f"<tr>{row}</tr>" if cells else "")
    return "\n".join(line for line in (*lines, "</table>") if line)


def listed(names: Iterable[object], most: int = 3, between: str = ", ") -> str:
    """Write names out, and how many more there are.

    Example:
        >>> listed(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    found = [str(name) for name in names]
    more = len(found) - most
    return between.join(found[:most]) + (f" and {more:,} more" if more > 0 else "")


def duration(seconds: float) -> str:
    """Write a duration.

    Example:
        >>> [duration(x) for x in (0.42, 12.3, 75, 4000)]
        ['0.4 s', '12 s', '1 min 15 s', '1 h 6 min']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
