"""The pictures of the study, drawn from plain numbers.

Every function returns a matplotlib `Figure` of its own and touches no global state, so pictures can
be drawn in any thread and without a display. Colours are those of Okabe and Ito, which people with
any common colour blindness can tell apart; hatches and markers tell the same without colour.
"""

from counterpoise.figures._confusion import confusion_pair, draw_confusion, readable_on
from counterpoise.figures._curves import accuracy_curves
from counterpoise.figures._flow import layer_flow
from counterpoise.figures._paper import save
from counterpoise.figures._recall import recall_bars

__all__ = [
    "accuracy_curves",
    "confusion_pair",
    "draw_confusion",
    "layer_flow",
    "readable_on",
    "recall_bars",
    "save",
]
