"""The user's own code that a run depends on: its digest, and its files."""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from counterpoise.study.spec import RunSpec
from counterpoise.user_code import owner, source_file

_MOST_BYTES = 2**25  # of code that is sent to other machines


def digest_of(word: str) -> str | None:
    """Return a digest of the module of `package.module:name` and of its imports from user code.

    Modules of installed packages and of Python do not count, nor what is imported by other means
    than an import statement.

    Returns:
        16 hexadecimal digits; None where there is no source to be read.

    Raises:
        ValueError: a package that raises while it is imported, as finding its modules asks.
    """
    found = _modules(word)
    whole = hashlib.sha256()
    for name in sorted(found):
        content = found[name].read_bytes()
        whole.update(f"{name} {len(content)} ".encode() + content)
    return whole.hexdigest()[:16] if found else None


def weights_of(path: str) -> str:
    """Return a digest of a file of weights, 16 hexadecimal digits.

    Raises:
        ValueError: there is no such file.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ValueError(
            f"training.weights must be auto, pretrained, none, or a file, but {path} cannot be "
            f"read: {error.strerror}"
        ) from error


def check_weights(spec: RunSpec) -> None:
    """Refuse a file of weights that is no longer the one that the study began with.

    Raises:
        ValueError: it has changed, or is gone.
    """
    known = spec.sources.get("weights")
    if known and weights_of(spec.training.weights) != known:
        raise ValueError(
            f"{spec.training.weights} must hold the weights that the study began with, but has "
            "changed since; put back the file, or begin another study"
        )


def files_of(word: str) -> dict[str, bytes]:
    """Return the files that another machine needs to import `package.module:name`, by their paths.

    A package comes whole; of modules that are installed there nothing comes.

    Raises:
        ValueError: a module without a file, or more bytes than code has.
    """
    found: dict[str, bytes] = {}
    modules = _modules(word)
    if not modules:
        raise ValueError(
            f"{word} must be code that can be sent to other machines, but its module has no file; "
            "put it into a .py file, or install it on every machine"
        )
    for top in {name.partition(".")[0]: None for name in modules}:
        start = _own(top) or modules.get(top)
        if start is None:  # a package without __init__.py: the modules that are named
            found |= {
                _file_name(name, path): path.read_bytes()
                for name, path in modules.items()
                if name.partition(".")[0] == top and owner(str(path)) == "user"
            }
            continue
        if owner(str(start)) != "user":
            continue
        below = [start] if start.name != "__init__.py" else _whole(start.parent)
        found |= {p.relative_to(_root(start)).as_posix(): p.read_bytes() for p in below}
    if (size := sum(map(len, found.values()))) > _MOST_BYTES:
        raise ValueError(
            f"the code of {word} must have {_MOST_BYTES:,} bytes at most to be sent to other "
            f"machines, but has {size:,}; install it on every machine, or take data out of it"
        )
    return found


def _file_name(module: str, path: Path) -> str:
    """Return the path of a module's file below the folder that is to be on the import path."""
    parts = module.replace(".", "/")
    return f"{parts}/__init__.py" if path.name == "__init__.py" else f"{parts}{path.suffix}"


def _root(start: Path) -> Path:
    """Return the folder that is to be on the import path."""
    return start.parent.parent if start.name == "__init__.py" else start.parent


def _whole(package: Path) -> list[Path]:
    return [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def _modules(word: str) -> dict[str, Path]:
    """Return the files of a word's module and of the user's modules that it imports, by name."""
    module = word.partition(":")[0]
    found: dict[str, Path] = {}
    path = source_file(module)
    if path is not None:
        _follow(module, path, found)
    return found


def _follow(module: str, path: Path, found: dict[str, Path]) -> None:
    """Add a module's file, and those of the user's modules that it imports."""
    found[module], content = path, path.read_bytes()
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
