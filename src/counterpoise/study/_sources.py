"""The user's own code that a run depends on, as a digest."""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from counterpoise.user_code import owner, source_file


def digest_of(word: str) -> str | None:
    """Return a digest of the module of `package.module:name` and of its imports from user code.

    Modules of installed packages and of Python do not count, nor what is imported by other means
    than an import statement.

    Returns:
        16 hexadecimal digits; None where there is no source to be read.

    Raises:
        ValueError: a package that raises while it is imported, as finding its modules asks.
    """
    module = word.partition(":")[0]
    found: dict[str, bytes] = {}
    path = source_file(module)
    if path is None:
        return None
    _follow(module, path, found)
    whole = hashlib.sha256()
    for name in sorted(found):
        whole.update(f"{name} {len(found[name])} ".encode() + found[name])
    return whole.hexdigest()[:16]


def _follow(module: str, path: Path, found: dict[str, bytes]) -> None:
    """Add a module's source, and those of the user's modules that it imports."""
    found[module] = content = path.read_bytes()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):  # reported when it is imported
        return
    for name in _imported(tree, package):
        for end in range(name.count(".") + 1):  # a.b.c runs a and a.b, too
            below = name.rsplit(".", end)[0]
            file = _own(below) if below not in found else None
            if file is not None:
                _follow(below, file, found)


def _own(module: str) -> Path | None:
    """Return the file of a module of the user's, which is not imported; None for all others."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        files = [Path(spec.origin or "")]
    else:
        paths = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
        files = [f for p in paths for f in (p / "__init__.py", p.with_name(f"{p.name}.py"))]
    return next((f for f in files if f.is_file() and owner(str(f)) == "user"), None)


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the modules that import statements name, and x of `from a import x`: it may be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name(
                    "." * node.level + (node.module or ""), package or None
                )
            except ImportError:  # relative, out of any package: reported later
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
