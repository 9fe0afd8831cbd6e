"""Templates, style and the policy that forbids everything else, for all pages."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from counterpoise.report._svg import plain

_HERE = Path(__file__).parent


def source(name: str) -> str:
    """Return the text of style.css or script.js."""
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def template(name: str) -> Template:
    """Return a page's template, in which everything is escaped by `plain`."""
    house = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    house.filters["code"] = _code
    return house.get_template(name)


def _code(text: str) -> Markup:
    """Return text as HTML, what stands in backticks as code."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if k % 2 else plain(part)
        for k, part in enumerate(text.split("`"))
    )


def policy(style: str, script: str = "") -> str:
    """Return a Content-Security-Policy without network, for this style and script only."""
    scripts = f"script-src {_allowed(script)}; " if script else ""
    return (
        f"default-src 'none'; style-src {_allowed(style)}; {scripts}"
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _allowed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
