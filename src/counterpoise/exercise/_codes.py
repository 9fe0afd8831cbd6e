"""The codes of the findings about single runs, each with its severity and title."""

import functools

from counterpoise import findings
from counterpoise.findings import finding

CODES = {
    # CP2xx: networks, by `explain_norms`
    "CP201": ("result", "a network learned: test accuracy above guessing"),
    "CP202": ("problem", "a network did not learn: test accuracy cannot be told from guessing"),
    "CP203": ("problem", "a network is worse than guessing"),
    "CP204": ("note", "signal and gradient of a network at the first step"),
    "CP205": ("problem", "why a network did not learn: signal or gradient vanish"),
    "CP206": ("note", "signal and gradient do not tell why a network did not learn"),
    "CP207": ("note", "nothing to compare: all networks learned, or none did"),
    "CP209": ("caution", "one seed only (networks)"),
    # CP3xx: two losses, by `compare_losses` and, from CP310 on, `explain_alpha`
    "CP301": ("result", "accuracy of two losses"),
    "CP302": ("result", "balanced accuracy of two losses"),
    "CP303": ("result", "macro-F1 of two losses"),
    "CP304": ("result", "the classes that gain most recall"),
    "CP305": ("result", "the classes that lose most recall"),
    "CP306": ("result", "mean recall of the smallest classes"),
    "CP309": findings.CODES["CP309"],
    "CP310": ("caution", "what α that sums to less does to the first gradient"),
    "CP311": ("note", "the first gradient once α has mean 1"),
    "CP312": ("result", "which differences to cross entropy survive the rescaling of α"),
}

sentence = functools.partial(finding.sentence, codes=CODES)
