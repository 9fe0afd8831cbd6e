"""Findings as they are printed: equal ones about several variants are one paragraph."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from counterpoise.findings.finding import Finding, listed

_MOST = 8  # variants whose numbers stand in a paragraph
_NAMED = 3  # variants that a sentence names before it has their numbers

_OPEN = "Whether {labels} are better or worse than {baseline} in {measure} cannot be told "
_LEVEL = " ({level}% intervals)"
_GAIN = (
    "{label} {difference:+.{digits}f}{unit} ({low:+.{digits}f} to {high:+.{digits}f}, better in "
    "{wins} of {seeds} seeds)"
)

# Of a code, or of one of its cases: what holds for several variants, and the numbers of each, from
# the evidence alone.
_TOGETHER = {
    "CP220": ("Runs of {labels} failed", "{label}: {failed} of {seeds}, the first with: {reason}"),
    "CP221": (
        "{labels} were not trained: at each value that was tried a training failed",
        "{label} at each of {rates} {what}, the first with: {reason}",
    ),
    "CP222": (
        "Runs of {labels} cannot be told from guessing by {measure} {where} of {samples:,} "
        "samples, where a guess has {chance:.1f}% with a standard deviation of {noise:.1f} points",
        "{label}: {stuck} of {runs} runs, {highest:.1f}% at most{ranks}",
    ),
    "CP223": (
        "{labels} did not learn because their signal vanishes, as far as these numbers show: "
        "before the first step the outputs of the last layer are nearly the same for every input "
        "(visible share: the variance over the inputs divided by the second moment)",
        "{label}: {share}",
    ),
    "CP224": (
        "In {labels} a layer is dead before the first step: most of its units are zero for every "
        "sample looked at",
        "{label}: in {dead} of {runs} runs, at worst {share:.1f}% of {layer}",
    ),
    "CP225": (
        "In runs of {labels} nearly all answers are one class",
        "{label}: {single} of {runs} runs, in the first class {class_name} with {share:.1f}% of "
        "the answers and {truth:.1f}% of the test samples",
    ),
    "CP226": (
        "{labels} were still improving when training ended, and more epochs may change their "
        "places: over the last {window} epochs their {measure} on validation {moved} (straight "
        "line through the mean of the seeds)",
        "{label} by {gain:.{digits}f}{unit}",
    ),
    "CP227": (
        "{labels} overfit: after their best epoch the mean negative log-likelihood on validation "
        "rose while the training loss fell",
        "{label} from {nll} in epoch {best} to {nll_end} (in {worse} of {seeds} seeds), balanced "
        "accuracy from {balanced:.1f}% to {balanced_end:.1f}%",
    ),
    "CP228": (
        "At the same learning rate ({lr}) the first gradients of {labels}, and so their first "
        "steps, differ in size from those that they are compared with: the comparison mixes the "
        "losses with the size of the steps",
        "{label}: {factor} times {than} {other}",
    ),
    "CP330 better": ("{labels} are better than {baseline} in {measure}" + _LEVEL, _GAIN),
    "CP330 worse": ("{labels} are worse than {baseline} in {measure}" + _LEVEL, _GAIN),
    "CP330 no difference that matters": (
        "Between {baseline} and {labels} there is no difference in {measure} that matters, none "
        "beyond ±{margin:g}{unit}" + _LEVEL,
        _GAIN,
    ),
    "CP330 direction": (
        "{labels} seem to differ from {baseline} in {measure}, but so few seeds do not show how "
        "far they scatter: only differences beyond the margin, ±{margin:g}, are called" + _LEVEL,
        _GAIN,
    ),
    "CP330 needed": (_OPEN + "yet" + _LEVEL, _GAIN + ", {number} seeds would tell"),
    "CP330 uneven": (
        _OPEN + "yet, nor how many seeds would tell, as runs stand far apart from others" + _LEVEL,
        _GAIN,
    ),
    "CP330 most": (_OPEN + "yet, and would take more than {most} seeds" + _LEVEL, _GAIN),
    "CP330 least": (
        _OPEN + "yet, nor how many seeds would tell, so run {least}" + _LEVEL,
        _GAIN,
    ),
    "CP330 cannot tell yet": (
        _OPEN + "by more seeds, as they draw from the same samples: more samples would" + _LEVEL,
        _GAIN,
    ),
    "CP330 one seed": (_OPEN + "from one seed", "{label} {difference:+.{digits}f}{unit}"),
    "CP332": (
        "The gain of {labels} is on the large classes alone: mean recall of the {head_group} and "
        "of the {tail_group} classes against {baseline}, in points, with {level}% intervals",
        "{label}: {head:+.1f} ({head_low:+.1f} to {head_high:+.1f}) and {tail:+.1f} "
        "({tail_low:+.1f} to {tail_high:+.1f})",
    ),
    "CP333": (
        "With {labels} the small classes gain what the large ones pay for: mean recall of the "
        "{head_group} and of the {tail_group} classes against {baseline}, in points, with "
        "{level}% intervals",
        "{label}: {head:+.1f} ({head_low:+.1f} to {head_high:+.1f}) and {tail:+.1f} "
        "({tail_low:+.1f} to {tail_high:+.1f})",
    ),
    "CP334": (
        "With {labels} nothing is gained that a correction of {baseline} after training would not "
        "give: {measure} gained on {baseline} ({gain_level}% intervals), gained by the "
        "correction alone ({free_level}%), and from the one to the other ({level}%)",
        "{label} {gain:+.{digits}f}{unit} ({gain_low:+.{digits}f} to {gain_high:+.{digits}f}), "
        "{correction} {free:+.{digits}f} ({free_low:+.{digits}f} to {free_high:+.{digits}f}), "
        "{difference:+.{digits}f} ({difference_low:+.{digits}f} to {difference_high:+.{digits}f})",
    ),
    "CP335": (
        "Every class came equally often to the losses of {labels}, so nothing of their balancing "
        "is left",
        "{label} (sampler: {sampler}) is {rest}",
    ),
    "CP336": (
        "With {labels} the classes are balanced twice, which favors the small classes beyond an "
        "equal footing",
        "{label}: {first}, and class weights come on top ({weights})",
    ),
    "CP338": (
        "{labels} are compared with {baseline} on fewer seeds than planned: in the others a run "
        "failed or is not there yet, and what failed may be what was hard",
        "{label}: {seeds} of {planned}",
    ),
    "CP339": (
        "The differences between {baseline} and {labels} hold for these {samples} test samples; "
        "with others they might not: {measure}, and twice the standard error of seeds and test "
        "samples together",
        "{label}: {difference:+.{digits}f}{unit}, {twice:.{digits}f}",
    ),
    "CP343": (
        "{labels} are earlier variants under other names, to the last bit of their logits on the "
        "test split, and count once",
        "{label} is {first} ({seeds} seeds)",
    ),
}


@dataclass(frozen=True)
class Paragraph:
    """One finding, or equal findings about several variants.

    Attributes:
        text: of one finding its text; of several, one sentence with the numbers of each.
        findings: those that it tells.
    """

    text: str
    findings: tuple[Finding, ...]

    @property
    def code(self) -> str:
        """The code of all its findings."""
        return self.findings[0].code

    @property
    def severity(self) -> str:
        """The severity of that code."""
        return self.findings[0].severity

    @property
    def whole(self) -> bool:
        """True where the text has the numbers of all findings."""
        return len(self.findings) <= _most(self.code)


def paragraphs(found: Sequence[Finding]) -> list[Paragraph]:
    """Return findings as paragraphs, in the order given; equal ones about variants are one.

    Example:
        >>> from counterpoise.findings.finding import sentence
        >>> numbers = {"baseline": "cross_entropy", "planned": 5, "seeds": 3}
        >>> two = [sentence("CP338", "", {"label": k, **numbers}) for k in ("focal", "ldam")]
        >>> print(paragraphs(two)[0].text[:55])
        focal and ldam are compared with cross_entropy on fewer
    """
    every = []
    for _, group in groupby(found, lambda f: f.code):
        cases: dict[str, list[Finding]] = {}
        for f in group:
            cases.setdefault(_case(f), []).append(f)
        for case, same in cases.items():
            if case in _TOGETHER and len(same) > 1:
                every.append(Paragraph(_together(case, same), tuple(same)))
            else:
                every += [Paragraph(f.text, (f,)) for f in same]
    return every


def _case(f: Finding) -> str:
    """Return a key of `_TOGETHER`: the code, and for a verdict what is said of it."""
    if f.code != "CP330":
        return f.code
    if "coarse" in f.evidence:
        return "CP330 coarse"
    if "low" not in f.evidence:
        return "CP330 one seed"
    said = (key for key in ("direction", "uneven", "needed", "most", "least") if key in f.evidence)
    return f"CP330 {next(said, f.evidence['verdict'])}"


def _most(code: str) -> int:
    """Return how many variants' numbers a paragraph has: of the verdicts, all."""
    return sys.maxsize if code == "CP330" else _MOST


def _together(case: str, same: Sequence[Finding]) -> str:
    first, each = _TOGETHER[case]
    labels = [str(f.evidence["label"]) for f in same]
    said = first.format(**same[0].evidence | {"labels": _enumerated(labels)})
    numbers = [each.format(**f.evidence) for f in same]
    return f"{said}. {listed(numbers, _most(same[0].code), '; ')}."


def _enumerated(labels: Sequence[str]) -> str:
    """Write few labels as in a sentence; those with commas are set apart by more than these."""
    between = "; " if any("," in label for label in labels) else ", "
    if len(labels) > _NAMED:
        return f"{len(labels)} variants"
    return between.join(labels[:-1]) + f" and {labels[-1]}"
