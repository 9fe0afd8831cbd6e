"""A study's folder in, one HTML file out, which a colleague can open from an e-mail.

It works on numbers and never imports torch. The page is complete without any script; the little
that there is reads out cells and adds arrow keys. What is drawn where:

    _story.py       verdict, ranking, cost, post-hoc adjustment
    _classes.py     recall by class size, the data
    _confusion.py   confusion matrices and differences (_matrix.py), samples (_thumbnails.py)
    _learning.py    training curves, calibration, gradient flow
    _setting.py     plan, environment, learning rates
    _page.py        all of it through page.html.j2, style.css and script.js

    _figures.py     the same charts by matplotlib, for papers

and with what: _svg.py, _strips.py (charts in table rows), _panels.py (charts with two axes).
"""

from counterpoise.report._figures import write_figures
from counterpoise.report._page import render

__all__ = ["render", "write_figures"]
