"""Train classifiers on imbalanced data, and know what really helped.

The parts are imported on first use, so that `import counterpoise` is quick and needs no torch:

    from counterpoise import data, losses, metrics, models, norms, samplers, train
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"
__all__ = [
    "data",
    "exercise",
    "figures",
    "findings",
    "losses",
    "metrics",
    "models",
    "norms",
    "probe",
    "samplers",
    "train",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"counterpoise.{name}")
    raise AttributeError(f"module 'counterpoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
