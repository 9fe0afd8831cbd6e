"""Figures for papers and slides, drawn from plain numbers with Matplotlib.

`confusion_matrix`, `forest`, `recall_by_class_size`, `training_curves` and `reliability`
draw one chart on the `ax` they are given, or on a new one, and return it, as scikit-learn's
displays do. `accuracy_curves`, `confusion_pair`, `layer_flow` and `recall_bars` return a whole
`Figure`. `save` writes PNG and PDF.

No global state is used, so figures can be drawn in any thread and without a display. The colours
are those of Okabe and Ito, which can be distinguished with any common colour blindness; hatches and
markers carry the same information without colour.
"""

from counterpoise.plots._class_size import recall_by_class_size
from counterpoise.plots._confusion import (
    confusion_matrix,
    confusion_pair,
    draw_confusion,
    readable_on,
)
from counterpoise.plots._curves import accuracy_curves
from counterpoise.plots._flow import layer_flow
from counterpoise.plots._forest import forest
from counterpoise.plots._paper import save
from counterpoise.plots._recall import recall_bars
from counterpoise.plots._reliability import reliability
from counterpoise.plots._seed_bands import training_curves

__all__ = [
    "accuracy_curves",
    "confusion_matrix",
    "confusion_pair",
    "draw_confusion",
    "forest",
    "layer_flow",
    "readable_on",
    "recall_bars",
    "recall_by_class_size",
    "reliability",
    "save",
    "training_curves",
]
