"""Parameters of a run in a file of YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

INSTALL = "pip install 'counterpoise[judge]'"


def read_settings(folder: Path, name: str = "hparams.yaml") -> dict[str, str]:
    """Return the parameters of a file, those within others as `outer.inner`.

    None where there is no file, or PyYAML is not installed, or the file names objects of Python:
    they are never built.
    """
    path = folder / name
    try:
        import yaml
    except ImportError:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return flat(content) if isinstance(content, Mapping) else {}


def flat(settings: Mapping[Any, Any], above: str = "") -> dict[str, str]:
    """Return settings within others by one name, as text.

    Example:
        >>> flat({"optimizer": {"lr": 0.1}, "seed": 3})
        {'optimizer.lr': '0.1', 'seed': '3'}
    """
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{above}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: str(value)}
    return found
