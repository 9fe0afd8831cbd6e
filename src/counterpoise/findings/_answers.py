"""The first questions to a study, answered: what to use, what was better, what cannot be told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from counterpoise import stats
from counterpoise.findings import _noise, _references
from counterpoise.findings._verdicts import counted, measured
from counterpoise.findings.finding import Finding, listed, shown
from counterpoise.study import Study
from counterpoise.text import duration

_CHEAPER = 0.9  # of the baseline's time: below it, a variant that is as good is to be preferred
_TIMES, _SEEDS = 3, 50  # as many times the seeds that ran, and as many, are many
_INTERVAL = "{difference:+.{digits}f}{unit} ({low:+.{digits}f} to {high:+.{digits}f})"
_ADDS = "--seeds {n}, or seeds = {n} in the plan, keeps the runs that are here"

_BEHIND = (
    "No {noun} is shown to beat {reference} ({score:.{digits}f}{mark}), whose difference to the "
    "{noun} with the best mean, {net}, is {difference:+.{digits}f}{unit}."
)
_AHEAD = (
    "{net}, the {noun} with the best mean, is {difference:.{digits}f}{unit} ahead of "
    "{reference} ({score:.{digits}f}{mark}), the best reference."
)
_TRIVIAL = (
    "None of them is shown to do better in {measure} than always answering the largest class."
)
_CHANCE = "this may still be chance: more test samples would tell"
_SHIFTED = (
    "{adjusted}, is {difference:+.{digits}f}{unit} from {net}, the {noun} with the best mean."
)


@dataclass(frozen=True)
class Answers:
    """First answers to a reader of a study, each a sentence or two.

    Attributes:
        use: what to use, and why.
        price: what a run of it takes.
        better: which variants are better than the baseline, by how much, and which are not.
        open: what cannot be told, and what would tell it.
        references: how the net with the best mean stands beside the references.
    """

    use: str
    price: str
    better: str
    open: str
    references: str


def answers(study: Study) -> Answers:
    """Answer the first questions to a study, finished or not, from its verdicts."""
    return Answers(*_use(study), _better(study), _open(study), _beside(study))


def best_variant(study: Study) -> str:
    """Return the variant that a study shows to be the best, or the cheapest of equal ones.

    Of those that are better than the baseline, and not by chance of a few test samples (CP339), it
    is the one with the largest gain. Where none is better, it is the baseline, or the fastest of
    the variants without a difference that matters to it, if that takes less than 0.9 of the
    baseline's time.
    """
    return best_and_reason(study)[0]


def best_and_reason(study: Study) -> tuple[str, str]:
    """Return `best_variant` with the reason for it, as in "the baseline, as none is better"."""
    better, doubtful = _better_and_doubtful(study)
    beyond = " beyond the noise of the test samples" if doubtful else ""
    if better[1:]:
        return better[0].variant, f"the one that gains most on the baseline{beyond}"
    if better:
        return better[0].variant, f"the only one that is better than the baseline{beyond}"
    none = "as none is shown to be better"
    baseline = study.labels[0]
    if doubtful:
        return baseline, f"the baseline, {none}{beyond}"
    alike = [v.variant for v in _of_word(study, "no difference that matters")]
    seconds = {label: s for label in (baseline, *alike) if (s := _seconds(study, label))}
    fastest = min(seconds, key=lambda label: seconds[label], default=baseline)
    if baseline in seconds and seconds[fastest] < _CHEAPER * seconds[baseline]:
        return fastest, f"the fastest of those alike, {none}"
    if len(study.labels) == 1:
        return baseline, "the only variant"
    return baseline, f"the baseline, {none}"


def reference_to_use(study: Study) -> str:
    """Return the label of the reference that a study says to use; "" where it says a variant."""
    behind = _to_use(study) if study.of(study.labels[0]) else None
    return str(behind.evidence["reference"]) if behind else ""


def adjusted_to_use(study: Study) -> bool:
    """Return True where a study says to use the baseline with its logits adjusted."""
    return bool(study.of(study.labels[0])) and not _to_use(study) and _adjusted(study) is not None


def _to_use(study: Study) -> Finding | None:
    """Return CP340, where its reference is what to use: not the baseline after adjustment."""
    behind, shifted = _references.no_net_is_better(study), _adjusted(study)
    if not behind:
        return None
    row, score = study.metric, float(behind[0].evidence["score"])
    ahead = row.scale * row.margin - 1e-9  # by which the adjusted baseline goes before it
    near = shifted is None or row.sign * (shifted - score) < ahead
    return behind[0] if near else None


def _use(study: Study) -> tuple[str, str]:
    """Return what to use with the reason, and what it takes."""
    label, baseline = best_variant(study), study.labels[0]
    row, measure = study.metric, study.metric.label
    if study.best is None:
        return "Nothing yet: no run of a variant is finished.", ""
    if not study.of(baseline):
        return f"Nothing yet: no run of {baseline}, the baseline, is finished.", ""
    noun = _references.noun(study)
    best = f"The {noun} with the best mean, {study.best}, has {_score(study, study.best)}."
    shifted = _adjusted(study)
    if behind := _to_use(study):
        name, reference = str(behind.evidence["reference"]), float(behind.evidence["score"])
        return (
            f"Use {name}: no {noun} is shown to beat its {reference:.{row.decimals}f}{row.mark} of "
            f"{measure}.",
            f"{_price(study, name)} {best} {_outlook(study, behind)}".rstrip(),
        )
    if shifted is None and _references.nothing_learned(study):
        return (
            f"Nothing yet: nothing was learned, neither by {noun}s nor by references. "
            + _TRIVIAL.format(measure=measure),
            "See whether the inputs tell the classes apart at all"
            + (", then train longer." if study.plan.nets else "."),
        )
    if not _learned(study):
        reason = "counterpoise doctor looks for the reason in a net."
        advice = f"Train longer, or less boldly; {reason}" if study.plan.nets else ""
        return "Nothing yet: no variant learned.", advice
    if shifted is not None:
        return (
            f"Use {baseline} with its logits adjusted after training (losses.adjust_logits): "
            f"{shifted:.{row.decimals}f}{row.mark} of {measure}, and no other {noun} to train.",
            f"{_price(study, baseline)} {best}",
        )
    better, doubtful = _better_and_doubtful(study)
    gains = [
        _INTERVAL.format(**measured(study, v, row.sign)).lstrip("+") for v in (*better, *doubtful)
    ]
    if len(study.labels) == 1:
        said = f"{baseline} was trained alone, and has {_score(study, baseline)} of {measure}."
    elif better:
        said = f"Use {label}: it is better than {baseline} in {measure}, by {gains[0]}."
    elif doubtful:
        name = doubtful[0].variant
        said = (
            f"Keep {baseline} for now: {name} looks better in {measure}, by {gains[0]}, but on "
            f"{_noise.few_samples(study)[name]} {_CHANCE}."
        )
    elif label != baseline:
        said = f"Use {label}: it is the fastest, and {baseline} differs by nothing that matters."
    elif len(_of_word(study, "no difference that matters")) == len(counted(study)):
        said = f"Use {baseline}: no variant differs by what matters, and none is much faster."
    elif _of_word(study, "cannot tell yet"):
        said = f"Keep {baseline} for now: no variant is shown to be better in {measure} yet."
    else:
        said = f"Keep {baseline}: no variant is better in {measure}."
    return said, _price(study, label)


def _outlook(study: Study, behind: Finding) -> str:
    """Return whether training longer, or more seeds, could put a net ahead of a reference."""
    standing = _references.standing(study, behind.evidence)
    if standing == "ahead":
        return "More seeds may show it ahead."
    if standing == "behind":
        net = not study.plan.variant_of(str(behind.evidence["net"])).model
        if study.plan.training.head_alone:
            return "Other features, or the whole net fine-tuned, may do better." if net else ""
        return "Train longer if a net is to be ahead." if net else ""
    net, reference = (
        _seconds(study, str(behind.evidence[key])) or 0.0 for key in ("net", "reference")
    )
    return "It is as good, but dearer." if net > reference else "It is as good, and no dearer."


def _better(study: Study) -> str:
    baseline = study.labels[0]
    if len(study.labels) == 1:
        return "There is no other variant to compare with."
    better, worse, alike = (
        _of_word(study, word) for word in ("better", "worse", "no difference that matters")
    )
    said = f"No variant is shown to be better than {baseline}."
    if better:
        said = f"Better than {baseline}: {_gains(study, better)}."
    said += f" Worse: {_gains(study, worse)}." if worse else ""
    return said + (f" No difference that matters: {_labels(alike)}." if alike else "")


def _open(study: Study) -> str:
    found = _of_word(study, "cannot tell yet")
    idle = [v for v in found if v.reason == stats.NEITHER_LEARNED]
    uneven = [v for v in found if v.uneven]
    rest = [v for v in found if v not in idle and v not in uneven]
    coarse = [v for v in rest if v.reason == stats.ONE_NUMBER]
    rest = [v for v in rest if v not in coarse]
    few = [v for v in rest if v.seeds_needed is None or v.seeds_say_too_little]
    rest = [v for v in rest if v not in few]
    never = [v for v in rest if not v.seeds_can_tell]
    rest = [v for v in rest if v.seeds_can_tell]
    far = [v for v in rest if (v.seeds_needed or 0) > stats.MAX_SEEDS]
    near = sorted((v for v in rest if v not in far), key=lambda v: v.seeds_needed or 0)
    most = min(_TIMES * len(study.plan.seeds), _SEEDS)
    dear = [v for v in near if (v.seeds_needed or 0) > most]
    near = near[: len(near) - len(dear)]
    said = []
    if idle:
        said.append(f"{_labels(idle)} and the baseline did not learn: more seeds tell nothing.")
    if few:
        said.append(
            f"For {_labels(few)} the seeds so far say too little: run {stats.MIN_SEEDS} "
            f"({_ADDS.format(n=stats.MIN_SEEDS)})."
        )
    if coarse:
        said.append(
            f"All runs of {_labels(coarse)} and the baseline have one and the same score: a finer "
            "metric or more test samples would tell."
        )
    if uneven:
        said.append(
            f"In {_labels(uneven)} or the baseline a run stands far apart from the others: no "
            "number of seeds can be named."
        )
    if near:
        adds = _ADDS.format(n=near[-1].seeds_needed)
        said.append(f"Seeds that would tell: {_needed(near)} ({adds}).")
    if dear:
        more = (dear[-1].seeds_needed or 0) - len(study.plan.seeds)
        a_seed = sum(_seconds(study, label) or 0.0 for label in study.labels)
        takes = f", {duration(more * a_seed)} of training more" if a_seed else ""
        said.append(
            f"Only many seeds would tell: {_needed(dear)}{takes}; a larger effect or a "
            "wider margin may serve better."
        )
    if far:
        said.append(
            f"More than {stats.MAX_SEEDS} seeds would be needed for {_labels(far)}: the runs "
            "scatter by far more than they differ from the baseline."
        )
    if never:
        said.append(
            f"More seeds cannot tell of {_labels(never)}, as they draw from the same samples: "
            "more samples would."
        )
    said += _by_chance(study)
    return " ".join(said) or "Nothing is left open between the variants and the baseline."


def _needed(found: Sequence[stats.Verdict]) -> str:
    return _listed([f"{v.shown_seeds} for {v.variant}" for v in found])


def _by_chance(study: Study) -> Iterator[str]:
    """Say which verdicts rest on too few test samples, and on how many."""
    alike = {v.variant for v in _of_word(study, "no difference that matters")}
    found: dict[tuple[str, bool], list[str]] = {}
    for label, few in _noise.few_samples(study).items():
        found.setdefault((few, label in alike), []).append(label)
    for (few, same), labels in found.items():
        one = len(labels) == 1
        verb = ("does not differ" if one else "do not differ") if same else "differ" + "s" * one
        what = " by what matters" if same else ""
        yield f"{_listed(labels)} {verb} from the baseline{what}, but on {few} {_CHANCE}."


def _beside(study: Study) -> str:
    said = [
        template.format(**f.evidence)
        for check, template in (
            (_references.no_net_is_better, _BEHIND),
            (_references.best_net_and_reference, _AHEAD),
            (_references.adjusted_baseline_is_enough, _SHIFTED),
        )
        for f in check(study)
    ]
    if not study.plan.references:
        said.insert(0, "No classical models were asked for (references = false).")
    if _references.nothing_learned(study):
        said.append(_TRIVIAL.format(measure=study.metric.label))
    none = "No variant is finished to stand beside the references."
    if not study.references:
        none = "No classical model is finished yet."
    elif study.best:
        none = f"No finished reference shares a seed with {study.best} yet."
    return " ".join(said) or none


def _of_word(study: Study, word: str) -> list[stats.Verdict]:
    """Return the verdicts of a word, the largest gain first."""
    found, sign = [v for v in counted(study) if v.verdict == word], study.metric.sign
    return sorted(found, key=lambda v: -sign * v.interval.estimate if v.interval else 0.0)


def _better_and_doubtful(study: Study) -> tuple[list[stats.Verdict], list[stats.Verdict]]:
    """Return the verdicts "better", and apart those that may be chance of a few test samples."""
    found, few = _of_word(study, "better"), _noise.few_samples(study)
    return [v for v in found if v.variant not in few], [v for v in found if v.variant in few]


def _learned(study: Study) -> bool:
    """Return False where no variant learned in any seed."""
    return not study.verdicts() or any(v.reason != stats.NEITHER_LEARNED for v in study.verdicts())


def _adjusted(study: Study) -> float | None:
    """Return the score of the adjusted baseline as it is shown, where it is enough."""
    if not _learned(study) or not _references.adjusted_baseline_is_enough(study):
        return None
    merit = _references.merit(study, study.reference_scores()[study.adjusted_label])
    return study.metric.rounded(study.metric.sign * merit)


def _gains(study: Study, found: Sequence[stats.Verdict]) -> str:
    return _listed([f"{v.variant} {_INTERVAL.format(**measured(study, v))}" for v in found])


def _labels(found: Sequence[stats.Verdict]) -> str:
    return _listed([v.variant for v in found])


def _listed(words: Sequence[str]) -> str:
    """Write a few out; those that hold commas are set apart by more than these."""
    return listed(words, between="; " if any("," in word for word in words) else ", ")


def _score(study: Study, label: str) -> str:
    found = [x for x in study.scores()[label].values() if x is not None]
    return study.metric.shown(sum(found) / len(found)) if found else "no score"


def _seconds(study: Study, label: str) -> float | None:
    """Return the mean time of a finished run of a variant or a reference.

    None of heads that are trained together: what they take is a share, and tells them not apart.
    """
    if study.plan.training.head_alone and label in map(study.plan.label, study.plan.nets):
        return None
    records = [r for r in (*study.records, *study.references) if r.label == label]
    times = [r.timing["seconds"] for r in records]
    return sum(times) / len(times) if times else None


def _price(study: Study, label: str) -> str:
    """Return a sentence on what a run takes, beside one of the baseline."""
    own, base = _seconds(study, label), _seconds(study, study.labels[0])
    if own is None:
        return ""
    beside = ""
    if base and label != study.labels[0]:
        beside = f", {shown(own / base)} times what one of {study.labels[0]} takes"
    return f"A run takes {duration(own)}{beside}."
