"""`counterpoise explain`: what a finding's code means, and what to do."""

import difflib
import re

_LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")  # of Markdown, to a page beside


def explain(code: str = "") -> int:
    """Say what a finding means, what to do, and when it is wrong; without a code, list all codes.

    Parameters
    ----------
    code
        Such as CP226.
    """
    from counterpoise.cli._shown import Output, shown
    from counterpoise.findings import CODES

    console, code = Output(), code.strip().upper()
    if not code:
        for name, about in CODES.items():
            console.print(shown((name, "cyan"), f"  {about.title} ({about.severity})"))
        return 0
    if code not in CODES:
        near = difflib.get_close_matches(code, CODES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"no finding has the code {code!r}; did you mean {near}? `counterpoise explain` alone "
            "lists them"
        )
    about = CODES[code]
    console.print(shown((code, "cyan"), f"  {about.title} ({about.severity})"))
    for title, words in (
        ("What it means", about.meaning),
        ("What to do", about.advice),
        ("How it is computed", about.computed),
        ("When it is wrong", about.wrong),
    ):
        console.print(shown((f"\n{title}: ", "bold"), _LINK.sub(r"\1: docs/\2", words)))
    return 0
