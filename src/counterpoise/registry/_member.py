"""A row of the registry, and how a word is resolved to what it names."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from counterpoise.user_code import import_name


@dataclass(frozen=True)
class Member:
    """Row of the registry: the factory of a member and its description.

    Args:
        make: the factory, as `package.module:name`; "" where there is none.
        help: when to use it, in one line.
        formula: for one sample of class t, in Markdown.
        paper: number on arXiv.
        use: the expression that builds it in Python.
        needs: the arguments that the factory is called with ("counts", "epochs") or the net must
            have ("cosine head"); of a reference, its kind of data ("vectors", "images").
        balanced: the loss it reduces to for balanced classes; "" where it does not depend on
            their sizes.
        tuned: of a classical model, the hyperparameter that is tuned.
        grid: the values of it that are tried, from the lowest up.
        settings: the factory's own, which a plan can vary.
    """

    make: str
    help: str
    formula: str = ""
    paper: str = ""
    use: str = ""
    needs: tuple[str, ...] = ()
    balanced: str = ""
    tuned: str = ""
    grid: tuple[float, ...] = ()
    settings: tuple[str, ...] = ()

    def load(self) -> Any:
        """Return the factory."""
        return import_name("a member", self.make) if self.make else None


def resolve(kind: str, name: str | Callable[..., Any], table: Mapping[str, Any]) -> Any:
    """Return the entry of a table, the object that `package.module:name` names, or a callable.

    Args:
        kind: the kind of object, for the error message, such as "loss".
        name: a key of the table, or `package.module:name`; modules in the current folder count;
            or a callable, which is returned itself.
        table: the entries by name.

    Raises:
        ValueError: a name that is neither; the message holds the nearest valid one.

    Example:
        >>> resolve("number", "one", {"one": 1, "two": 2})
        1
        >>> resolve("number", "math:pi", {}) > 3
        True
    """
    if not isinstance(name, str) and callable(name):
        return name
    if name in table:
        return table[name]
    if ":" in name:
        return import_name(kind, name)
    raise ValueError(unknown(kind, name, table))


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message that a name is unknown, with the nearest known one.

    Example:
        >>> unknown("loss", "focl", ["focal", "ldam"])
        "loss must be one of focal, ldam, but got 'focl'; did you mean 'focal'?"
        >>> unknown("loss", "la", ["ldam", "logit_adjusted"]).split()[-1]
        "'logit_adjusted'?"
    """
    known = list(known)
    near = nearest(name, known)
    meant = f"; did you mean {near!r}?" if near else ""
    return f"{kind} must be one of {', '.join(known)}, but got {name!r}{meant}"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.0) -> str:
    """Return the known name that may be meant: by its beginning, its initials, or its spelling.

    Args:
        name: that is not among them.
        known: names.
        cutoff: how alike the spelling must be, from 0 to 1; "" is returned where none is.

    Example:
        >>> nearest("wd", ["epochs", "weight_decay"], cutoff=0.6)
        'weight_decay'
    """
    known, text = list(known), str(name)
    begins = [k for k in known if text and k.startswith(text)]
    begins += [k for k in known if "".join(word[:1] for word in k.split("_")) == text]
    found = begins or difflib.get_close_matches(text, known, n=1, cutoff=cutoff)
    return found[0] if found else ""


def name_of(thing: Any) -> str:
    """Return a name as it is, and the `package.module:name` of an object.

    Raises:
        ValueError: an object that cannot be imported by name, such as a lambda or one of a script.

    Example:
        >>> import math
        >>> name_of("focal"), name_of(math.sqrt)
        ('focal', 'math:sqrt')
    """
    if isinstance(thing, str):
        return thing
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "<")
    if module in (None, "__main__") or "<" in name:
        called = f" called {name}" if isinstance(name, str) and name != "<" else ""
        raise ValueError(
            f"a {type(thing).__name__}{called} must be importable, as every run has a process of "
            "its own; put it into a module (a file beside the script will do) and give "
            "'module:name'"
        )
    return f"{module}:{name}"
