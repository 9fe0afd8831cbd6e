"""Rows of the losses, and their table in the docs."""

from counterpoise.registry._member import Member

_LOSSES = "counterpoise.losses"
LOSSES: dict[str, Member] = {
    "cross_entropy": Member(
        f"{_LOSSES}._adjusted:AdjustedCrossEntropyLoss",
        "always the first row of the table: tuned well, it is often enough "
        "([Shwartz-Ziv et al. 2023](https://arxiv.org/abs/2312.02517))",
        "-log p_t, p = softmax(z)",
        use="losses.AdjustedCrossEntropyLoss()",
        settings=("label_smoothing",),
    ),
    "weighted": Member(
        f"{_LOSSES}._class_weights:weighted_cross_entropy",
        "few epochs, or a net too small to fit everything; hurts when the rare classes are fitted "
        "anyway",
        "-log p_t, times N / (C n_t)",
        use="losses.AdjustedCrossEntropyLoss(weight=losses.inverse_weights(counts))",
        needs=("counts",),
        balanced="plain cross entropy",
        settings=("label_smoothing",),
    ),
    "focal": Member(
        f"{_LOSSES}._focal:FocalLoss",
        "calibration, label noise in the easy mass, detection; for imbalance alone, expect about "
        "cross entropy",
        "(1 - p_t)^γ · -log p_t",
        "1708.02002",
        "losses.FocalLoss(gamma)",
        settings=("gamma", "label_smoothing"),
    ),
    "weighted_focal": Member(
        f"{_LOSSES}._class_weights:weighted_focal_loss",
        "as `weighted`",
        "the same, times N / (C n_t)",
        "1708.02002",
        "losses.FocalLoss(gamma, alpha=losses.inverse_weights(counts))",
        ("counts",),
        "plain focal loss",
        settings=("gamma", "label_smoothing"),
    ),
    "poly": Member(
        f"{_LOSSES}._poly:PolyLoss",
        "a cheap variation to try on balanced data",
        "-log p_t + ε (1 - p_t)",
        "2204.12511",
        "losses.PolyLoss(epsilon)",
        settings=("epsilon", "label_smoothing"),
    ),
    "class_balanced": Member(
        f"{_LOSSES}._class_balanced:ClassBalancedLoss",
        "as `weighted`, where full inverse weights are too much",
        "-log p_t, times (1 - β) / (1 - β^n_t)",
        "1901.05555",
        "losses.ClassBalancedLoss(counts, beta)",
        ("counts",),
        "plain cross entropy, or focal loss if it has a gamma",
        settings=("beta", "gamma", "label_smoothing", "poly"),
    ),
    "balanced_softmax": Member(
        f"{_LOSSES}._logit_adjusted:BalancedSoftmaxLoss",
        "**the first to try** for balanced accuracy",
        "-log softmax(z + log n)_t",
        "2007.10740",
        "losses.BalancedSoftmaxLoss(counts)",
        ("counts",),
        "plain cross entropy",
        settings=("gamma", "label_smoothing", "poly"),
    ),
    "logit_adjusted": Member(
        f"{_LOSSES}._logit_adjusted:LogitAdjustedLoss",
        "the same with a knob; τ = 1 is `balanced_softmax`",
        "-log softmax(z + τ log π)_t",
        "2007.07314",
        "losses.LogitAdjustedLoss(counts, tau)",
        ("counts",),
        "plain cross entropy",
        settings=("tau", "gamma", "label_smoothing", "poly"),
    ),
    "ldam": Member(
        f"{_LOSSES}._ldam:LDAMLoss",
        "with a cosine head and `DeferredReweighting`, as its authors train it",
        "-log softmax(s (z - m_t at t))_t, m_t ∝ n_t^(-1/4)",
        "1906.07413",
        "losses.LDAMLoss(counts)`, `models.NormedLinear",
        ("counts", "cosine head"),
        "one margin for all classes",
        settings=("max_margin", "scale", "gamma", "label_smoothing"),
    ),
    "seesaw": Member(
        f"{_LOSSES}._seesaw:SeesawLoss",
        "very many classes with a long tail, as in instance segmentation; it can count them itself "
        "while training",
        "-log softmax(z + log S_t)_t, S_tj = min(1, n_j / n_t)^p · max(1, p_j / p_t)^q",
        "2008.10032",
        "losses.SeesawLoss(counts, p, q)",
        ("counts",),
        "cross entropy that presses the more on what is more probable than the target",
        settings=("p", "q", "eps", "gamma", "label_smoothing"),
    ),
    "cdt": Member(
        f"{_LOSSES}._vs:CDTLoss",
        "long training that fits every sample",
        "-log softmax((n / n_max)^γ z)_t",
        "2001.01385",
        "losses.CDTLoss(counts, power)",
        ("counts",),
        "plain cross entropy",
        settings=("power", "gamma", "label_smoothing", "poly"),
    ),
    "vs": Member(
        f"{_LOSSES}._vs:VSLoss",
        "both at once, with two knobs to tune",
        "-log softmax((n / n_max)^γ z + τ log π)_t",
        "2103.01550",
        "losses.VSLoss(counts, power, tau)",
        ("counts",),
        "plain cross entropy",
        settings=("power", "tau", "gamma", "label_smoothing", "poly"),
    ),
}
MULTI_LABEL_LOSSES: dict[str, Member] = {
    "sigmoid_focal": Member(
        f"{_LOSSES}._sigmoid_focal:SigmoidFocalLoss",
        "binary, multi-label, detection",
        "focal for each yes/no",
        "1708.02002",
        "losses.SigmoidFocalLoss(gamma, alpha)",
    ),
    "asymmetric": Member(
        f"{_LOSSES}._asymmetric:AsymmetricLoss",
        "many labels, few of them true",
        "focal with γ₋ > γ₊, easy negatives cut off",
        "2009.14119",
        "losses.AsymmetricLoss()",
    ),
}

DEFAULT_LOSSES = ("cross_entropy", "logit_adjusted", "weighted")  # compared if nothing is said


def table_of_losses() -> str:
    """Return the table of losses in docs/which_loss.md, in Markdown."""
    rows = ["| name | formula, for one sample of class t | when | paper | import |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for name, m in (LOSSES | MULTI_LABEL_LOSSES).items():
        paper = f"[{m.paper}](https://arxiv.org/abs/{m.paper})" if m.paper else ""
        rows.append(f"| `{name}` | {m.formula} | {m.help} | {paper} | `{m.use}` |")
    return "\n".join(rows)
