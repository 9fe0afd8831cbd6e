"""Losses, norms and honest comparisons of them for training classifiers on imbalanced data.

Subpackages are imported on first use, so that `import counterpoise` is fast and needs no torch:

    from counterpoise import data, losses, metrics, models, norms, samplers, train

The most used functions are available here: `compare`, `open_study`, `judge`, `load`,
`diagnose`, `watch`.
"""

import importlib

TYPE_CHECKING = False  # typing is not imported: Ctrl-C is not answered yet
if TYPE_CHECKING:  # what `__getattr__` finds, for editors and type checkers
    from counterpoise import (
        data,
        decisions,
        doctor,
        exercise,
        export,
        findings,
        inference,
        judgement,
        losses,
        metrics,
        models,
        norms,
        plots,
        probabilities,
        probe,
        report,
        samplers,
        stats,
        study,
        train,
    )
    from counterpoise.doctor import diagnose
    from counterpoise.inference import load
    from counterpoise.judgement import judge
    from counterpoise.probe import watch
    from counterpoise.study import compare, open_study

__version__ = "0.1.0"

__all__ = [
    "compare",
    "data",
    "decisions",
    "diagnose",
    "doctor",
    "exercise",
    "export",
    "findings",
    "inference",
    "judge",
    "judgement",
    "load",
    "losses",
    "metrics",
    "models",
    "norms",
    "open_study",
    "plots",
    "probabilities",
    "probe",
    "report",
    "samplers",
    "stats",
    "study",
    "train",
    "watch",
]
_NAMES = {
    "compare": "study",
    "diagnose": "doctor",
    "judge": "judgement",
    "load": "inference",
    "open_study": "study",
    "watch": "probe",
}


def __getattr__(name: str) -> object:
    if name in _NAMES:
        return getattr(importlib.import_module(f"counterpoise.{_NAMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"counterpoise.{name}")
    raise AttributeError(f"module 'counterpoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
