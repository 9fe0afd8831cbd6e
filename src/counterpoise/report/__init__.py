"""The report of a study: one self-contained HTML file, which a reader can open from an e-mail.

The report works on numbers and never imports torch. The page is complete without scripts; its one
script shows the values of cells and adds arrow keys. Contents by file:

    _story.py       verdict, ranking, cost
    _after_training.py  scores without another training
    _classes.py     recall by class size, the data
    _confusion.py   confusion matrices and differences (_matrix.py), samples (_thumbnails.py)
    _learning.py    training curves, calibration, gradient flow
    _probabilities.py   log-loss and reliability, corrected and calibrated
    _decisions.py   rules, coverage and risk; of two classes curves and thresholds (_thresholds.py)
    _setting.py     plan, environment, learning rates
    _page.py        the page, from page.html.j2, style.css and script.js
    _output.py      checks of the file to write
    _predictions.py predictions.csv, beside the page
    _show.py        the page in a notebook
    _data_page.py   a page about data, before any study (data.html.j2)
    _judgement.py   a page about runs that were trained elsewhere (judgement.html.j2)
    _html.py        templates, style and policy of all three

    _figures.py     the same charts by Matplotlib, for papers

Charts are drawn by _svg.py, _strips.py (charts in table rows) and _panels.py (two axes).
"""

from counterpoise.report._data_page import column_words, render_data
from counterpoise.report._figures import write_figures
from counterpoise.report._judgement import render_judgement
from counterpoise.report._page import render
from counterpoise.report._predictions import write_predictions
from counterpoise.report._show import Page, show

__all__ = [
    "Page",
    "column_words",
    "render",
    "render_data",
    "render_judgement",
    "show",
    "write_figures",
    "write_predictions",
]
