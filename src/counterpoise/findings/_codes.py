"""The codes of all findings, read from codes.toml: severity, title, meaning and advice of each.

problem   something is broken, and conclusions with it
caution   a conclusion may be wrong for this reason
note      good to know
result    what the numbers say
"""

import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

SEVERITIES = ("problem", "caution", "note", "result")  # in the order of a list of findings


@dataclass(frozen=True)
class Code:
    """Meaning of all findings of one code, each part a paragraph in Markdown.

    Attributes:
        severity: problem, caution, note or result.
        title: the subject in a few words.
        meaning: what it means for a reader.
        computed: how it is found.
        advice: what to do.
        wrong: when not to believe it.
    """

    severity: str
    title: str
    meaning: str
    computed: str
    advice: str
    wrong: str


def _read() -> dict[str, Code]:
    text = files("counterpoise.findings").joinpath("codes.toml").read_text(encoding="utf-8")
    return {
        code: Code(**{key: " ".join(words.split()) for key, words in row.items()})
        for code, row in tomllib.loads(text).items()
    }


CODES = _read()


def page_of_codes() -> str:
    """Return docs/findings.md from its first code on."""
    return "\n\n".join(_paragraphs()) + "\n"


def _paragraphs() -> Iterator[str]:
    for code, c in sorted(CODES.items()):
        yield f"## {code}"
        yield f"*{c.severity}*: {c.title}"
        for title, words in (
            ("", c.meaning),
            ("**Computed:** ", c.computed),
            ("**What to do:** ", c.advice),
            ("**When it is wrong:** ", c.wrong),
        ):
            yield textwrap.fill(title + words, 100, break_long_words=False, break_on_hyphens=False)
