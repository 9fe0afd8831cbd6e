"""Losses, norms and honest comparisons of them for training classifiers on imbalanced data.

Subpackages are imported on first use, so that `import counterpoise` is fast and needs no torch:

    from counterpoise import data, losses, metrics, models, norms, samplers, train

The most used functions are available here: `compare`, `open_study`, `diagnose`, `watch`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PARTS = (
    "data",
    "doctor",
    "exercise",
    "findings",
    "losses",
    "metrics",
    "models",
    "norms",
    "plots",
    "probe",
    "report",
    "samplers",
    "stats",
    "study",
    "train",
)
_NAMES = {"compare": "study", "diagnose": "doctor", "open_study": "study", "watch": "probe"}
__all__ = [*_PARTS, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"counterpoise.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"counterpoise.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'counterpoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
