"""The codes, each with its severity and title; docs/findings.md has a section for each.

problem   something is broken, and conclusions with it
caution   a conclusion may be wrong for this reason
note      good to know
result    what the numbers say
"""

SEVERITIES = ("problem", "caution", "note", "result")  # in the order of a list of findings

CODES = {
    # CP1xx: the data
    "CP101": ("caution", "too few test samples of a class"),
    "CP102": ("caution", "test samples that are also in the training split"),
    "CP103": ("note", "training samples that occur more than once"),
    "CP104": ("caution", "a class that validation lacks"),
    "CP105": ("caution", "accuracy rewards the largest class"),
    "CP106": ("problem", "a class that the training or the test split lacks"),
    # CP2xx: learning
    "CP220": ("problem", "runs that failed"),
    "CP221": ("problem", "no learning rate worked"),
    "CP222": ("problem", "runs that never learned"),
    "CP223": ("problem", "the signal does not reach the last layer"),
    "CP224": ("caution", "a layer whose units are dead before the first step"),
    "CP225": ("caution", "nearly all answers are one class"),
    "CP226": ("caution", "still improving when training ended"),
    "CP227": ("caution", "overfitting: validation got worse while the training loss fell"),
    "CP228": ("caution", "the first gradients differ in size at the same learning rate"),
    # CP3xx: variants
    "CP309": ("caution", "one seed only (losses, or variants of a study)"),
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
    "CP340": ("caution", "no net is better than a classical reference"),
    "CP341": ("result", "the adjusted baseline does as well as the best variant"),
    "CP342": ("result", "the best net beside the best reference"),
    # CP4xx: the study's folder
    "CP401": ("caution", "runs from another environment"),
    "CP402": ("note", "a plan.toml that is not the plan that was run"),
}
