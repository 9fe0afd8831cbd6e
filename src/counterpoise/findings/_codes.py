"""Every code, how severe it is, and what it is about. docs/findings.md has a section for each.

problem   something is broken, and conclusions with it
caution   a conclusion may be wrong for this reason
note      good to know
result    what the numbers say
"""

SEVERITIES = ("problem", "caution", "note", "result")  # in the order in which they are told

CODES = {
    # CP1xx: the data
    "CP101": ("caution", "too few test samples of a class"),
    "CP102": ("caution", "test samples that are also in the training part"),
    "CP103": ("note", "training samples that occur more than once"),
    "CP104": ("caution", "a class that validation lacks"),
    "CP105": ("caution", "accuracy rewards the largest class"),
    "CP106": ("problem", "a class that the training or the test part lacks"),
    # CP2xx: learning. The first nine are told of networks by `explain_norms`.
    "CP201": ("result", "a network learned: test accuracy above guessing"),
    "CP202": ("problem", "a network did not learn: test accuracy cannot be told from guessing"),
    "CP203": ("problem", "a network is worse than guessing"),
    "CP204": ("note", "signal and gradient of a network at the first step"),
    "CP205": ("problem", "why a network did not learn: signal or gradient vanish"),
    "CP206": ("note", "signal and gradient do not tell why a network did not learn"),
    "CP207": ("note", "nothing to compare: all networks learned, or none did"),
    "CP209": ("caution", "one seed only (networks)"),
    "CP220": ("problem", "runs that failed"),
    "CP221": ("problem", "no learning rate worked"),
    "CP222": ("problem", "runs that never learned"),
    "CP223": ("problem", "the signal does not reach the last layer"),
    "CP224": ("caution", "a layer whose units are dead before the first step"),
    "CP225": ("caution", "nearly all answers are one class"),
    "CP226": ("caution", "still improving when training ended"),
    "CP227": ("caution", "overfitting: validation got worse while the training loss fell"),
    "CP228": ("caution", "the first gradients differ in size at the same learning rate"),
    # CP3xx: variants. Up to CP312 they are told of two losses by `compare_losses` and
    # `explain_alpha`.
    "CP301": ("result", "accuracy of two losses"),
    "CP302": ("result", "balanced accuracy of two losses"),
    "CP303": ("result", "macro-F1 of two losses"),
    "CP304": ("result", "the classes that gain most recall"),
    "CP305": ("result", "the classes that lose most recall"),
    "CP306": ("result", "mean recall of the smallest classes"),
    "CP309": ("caution", "one seed only (losses, or variants of a study)"),
    "CP310": ("caution", "what α that sums to less does to the first gradient"),
    "CP311": ("note", "the first gradient once α has mean 1"),
    "CP312": ("result", "which differences to cross entropy survive the rescaling of α"),
    "CP330": ("result", "a variant against the baseline"),
    "CP331": ("note", "seeds or test samples: the larger source of noise"),
    "CP332": ("caution", "a gain on the large classes alone"),
    "CP333": ("caution", "a gain on the small classes, paid by the large ones"),
    "CP334": ("caution", "post-hoc adjustment of the baseline does as well"),
    "CP335": ("note", "a balancing loss that saw balanced classes"),
    "CP336": ("caution", "classes balanced twice"),
    "CP337": ("caution", "a learning rate at the edge of the grid"),
    "CP338": ("caution", "variants compared on fewer seeds than planned"),
    "CP339": ("caution", "a difference that another test set may not show"),
    # CP4xx: the study's folder
    "CP401": ("caution", "runs from another environment"),
    "CP402": ("note", "a plan.toml that is not the plan that was run"),
}
