"""The first questions to studies of which the answers are known."""

import re

import pytest

from counterpoise.export._choose import choose
from counterpoise.findings import answers, best_and_reason, best_variant, collect_findings
from counterpoise.text import duration

CE, FOCAL, LA = "cross_entropy", "focal", "logit_adjusted"
LINEAR, LARGEST = "logistic regression", "always the largest class"
BASE = {0: [70, 71, 72], 1: [73, 70, 71], 2: [69, 72, 71], 3: [71, 71, 73], 4: [72, 70, 70]}
WORSE = {s: [40, 41, 40] for s in BASE}
ALL = {s: [100] * 3 for s in BASE}
# After adjustment every variant is worse, so that only what is meant to is recommended.
NO_SHIFT = dict.fromkeys((CE, FOCAL, LA), WORSE)


def shifted(by, noise=0):
    """The baseline's hits, and so many more, or fewer, in each class."""
    return {s: [h + by + noise * (-1) ** s * (s + 1) for h in hits] for s, hits in BASE.items()}


def test_a_better_variant_is_to_be_used(make):
    hits = {CE: BASE, FOCAL: shifted(9), LA: shifted(14)}
    study = make(hits, adjusted=NO_SHIFT, references={LINEAR: WORSE}, seconds={LA: 90.0, CE: 60.0})
    found = answers(study)
    gains = {
        v.variant: f"points ({100 * v.interval.low:+.1f} to {100 * v.interval.high:+.1f})"
        for v in study.verdicts()
    }
    assert best_variant(study) == LA
    assert found.use == (
        f"Use logit_adjusted: it is better than cross_entropy in balanced accuracy, by 14.0 "
        f"{gains[LA]}."
    )
    assert found.price == "A run takes 1 min 30 s, 1.5 times what one of cross_entropy takes."
    assert found.better == (
        f"Better than cross_entropy: logit_adjusted +14.0 {gains[LA]}, focal +9.0 {gains[FOCAL]}."
    )
    assert found.open == "Nothing is left open between the variants and the baseline."
    assert found.references.startswith("logit_adjusted, the net with the best mean, is 44.7")


@pytest.mark.parametrize(
    ("seconds", "best", "use"),
    [
        ({CE: 10.0, FOCAL: 8.0}, FOCAL, "Use focal: it is the fastest, and cross_entropy differs"),
        ({CE: 10.0, FOCAL: 9.5}, CE, "Use cross_entropy: no variant differs by what matters"),
        ({CE: 10.0, FOCAL: 20.0}, CE, "Use cross_entropy: no variant differs by what matters"),
    ],
)
def test_without_a_difference_the_cheapest_is_to_be_used(make, seconds, best, use):
    study = make({CE: BASE, FOCAL: BASE}, adjusted=NO_SHIFT, seconds=seconds)
    assert best_variant(study) == best
    assert answers(study).use.startswith(use)
    assert "No difference that matters: focal." in answers(study).better


def test_a_reference_that_no_net_beats_is_to_be_used(make):
    references = {LINEAR: shifted(20), LARGEST: WORSE}
    study = make(
        {CE: BASE, FOCAL: shifted(9)}, adjusted=NO_SHIFT, references=references, seconds={LINEAR: 2}
    )
    found = answers(study)
    assert found.use == (
        "Use logistic regression: no net is shown to beat its 91.1% of balanced accuracy."
    )
    assert found.price == (
        "A run takes 2.0 s, 2 times what one of cross_entropy takes. The net with the best mean, "
        "focal, has 80.1%. Train longer if a net is to be ahead."
    )
    assert (
        "whose difference to the net with the best mean, focal, is +11.0 points" in found.references
    )
    assert best_variant(study) == FOCAL  # of which predictions.csv is


@pytest.mark.parametrize(
    ("net", "reference", "said", "advice"),
    [
        (shifted(0), shifted(-0.5), "It is as good, but dearer.", "The net is as good; use"),
        (ALL, ALL, "It is as good, but dearer.", "The net is as good; use"),
        (shifted(0, 3), shifted(5), "Train longer if a net", "Train longer, or use logistic"),
        (shifted(0, 3), shifted(0), "More seeds may show it ahead.", "More seeds may show"),
    ],
)
def test_a_net_that_is_not_behind_need_not_train_longer(make, net, reference, said, advice):
    study = make(
        {CE: net},
        adjusted=NO_SHIFT,
        references={LINEAR: reference, LARGEST: WORSE},
        seconds={CE: 9.0},
        margin=0.02,
    )
    found = answers(study)
    assert found.use.startswith("Use logistic regression")
    assert said in found.price
    (told,) = [f for f in collect_findings(study) if f.code == "CP340"]
    assert advice in told.text


def test_a_reference_that_learned_nothing_is_no_advice(make):
    guess = {s: [100, 0, 0] for s in BASE}
    for references in ({LINEAR: guess, LARGEST: guess}, {LINEAR: guess}):
        study = make({CE: guess, FOCAL: guess}, adjusted=NO_SHIFT, references=references)
        found = answers(study)
        assert found.use == (
            "Nothing yet: nothing was learned, neither by nets nor by references. None of them "
            "is shown to do better in balanced accuracy than always answering the largest class."
        )
        assert "logistic" not in found.use + found.price + found.references
        assert "CP340" not in {f.code for f in collect_findings(study)}


def test_an_adjusted_baseline_that_is_enough_is_to_be_used(make):
    study = make({CE: BASE, FOCAL: shifted(9)}, adjusted=NO_SHIFT | {CE: shifted(9)})
    found = answers(study)
    assert found.use.startswith("Use cross_entropy with its logits adjusted after training")
    assert "80.1% of balanced accuracy" in found.use
    assert choose(study).why == (
        "it is the only one that is better than the baseline; the answer of the study is "
        "cross_entropy with its logits adjusted, which --variant 'cross_entropy' --probable "
        "exports, for predict --prior uniform"
    )
    better_reference = make(
        {CE: BASE, FOCAL: shifted(9)},
        adjusted=NO_SHIFT | {CE: shifted(9)},
        references={LINEAR: shifted(12)},
    )
    assert answers(better_reference).use.startswith("Use logistic regression")


def test_an_adjusted_baseline_needs_a_verdict_and_the_margin(make):
    nets = {CE: BASE, FOCAL: shifted(9)}
    scattered = make(nets, adjusted=NO_SHIFT | {CE: shifted(9, 8)})
    assert "adjusted" not in answers(scattered).use
    assert answers(scattered).use.startswith("Use focal")
    for by, use in ((9, "logistic regression"), (11, "cross_entropy with its logits adjusted")):
        close = make(
            nets,
            adjusted=NO_SHIFT | {CE: shifted(by)},
            references={LINEAR: shifted(8.5)},
            margin=0.015,
        )
        assert answers(close).use.startswith(f"Use {use}")


def test_where_nothing_learned_nothing_is_to_be_used(make):
    guess = {s: [34, 33, 33] for s in BASE}
    found = answers(make({CE: guess, FOCAL: guess}, adjusted={CE: guess, FOCAL: guess}))
    assert found.use == "Nothing yet: no variant learned."
    assert found.open == "focal and the baseline did not learn: more seeds tell nothing."
    linear = make({CE: guess, FOCAL: guess}, references={LINEAR: BASE})
    assert answers(linear).use.startswith("Use logistic regression")


def test_two_seeds_tell_almost_nothing(make):
    base, other = ({s: hits[s] for s in (0, 1)} for hits in (BASE, shifted(20)))
    found = answers(make({CE: base, FOCAL: other}, adjusted={CE: base, FOCAL: base}))
    assert found.use == (
        "Keep cross_entropy for now: no variant is shown to be better in balanced accuracy yet."
    )
    assert found.open == (
        "For focal the seeds so far say too little: run 5 (--seeds 5, or seeds = 5 in the plan, "
        "keeps the runs that are here)."
    )


def test_what_more_seeds_would_tell_is_said_with_their_number(make):
    study = make(
        {CE: BASE, FOCAL: shifted(2, 1), LA: shifted(0, 7)}, adjusted=NO_SHIFT, margin=0.06
    )
    needed = {v.variant: v.seeds_needed for v in study.verdicts()}
    assert needed[FOCAL] <= 15 < 200 < needed[LA]
    found = answers(study).open
    assert re.search(rf"tell: about {needed[FOCAL]} for focal \(--seeds {needed[FOCAL]}, or", found)
    assert "More than 200 seeds would be needed for logit_adjusted" in found


def test_many_seeds_are_no_advice(make):
    study = make(
        {CE: BASE, FOCAL: shifted(1, 2)},
        adjusted=NO_SHIFT,
        margin=0.05,
        seconds={CE: 50, FOCAL: 70},
    )
    needed = study.verdicts()[0].seeds_needed
    assert 15 < needed <= 200
    assert answers(study).open == (
        f"Only many seeds would tell: about {needed} for focal, {duration((needed - 5) * 120)} of "
        "training more; a larger effect or a wider margin may serve better."
    )


def test_a_difference_on_few_test_samples_may_be_chance(make):
    low = {s: [40, 40, 0] for s in BASE}
    hits = {CE: {s: [90, 90, 0] for s in BASE}, FOCAL: {s: [90, 90, 1 - s // 4] for s in BASE}}
    study = make(hits, (100, 100, 2), adjusted=dict.fromkeys(hits, low))
    assert [v.verdict for v in study.verdicts()] == ["better"]
    assert "CP339" in {f.code for f in collect_findings(study)}
    found = answers(study)
    chance = "on 2 test samples of class cheese this may still be chance: more test samples would "
    assert found.use == (
        "Keep cross_entropy for now: focal looks better in balanced accuracy, by 13.3 points (+4.1 "
        f"to +22.6), but {chance}tell."
    )
    assert best_and_reason(study) == (
        CE,
        "the baseline, as none is shown to be better beyond the noise of the test samples",
    )
    assert found.open == f"focal differs from the baseline, but {chance}tell."
    sure = {s: [99, 99, 0] for s in BASE}
    study = make({**hits, LA: sure}, (100, 100, 2), adjusted=dict.fromkeys((*hits, LA), low))
    assert answers(study).use.startswith("Use logit_adjusted: it is better than cross_entropy")
    assert best_and_reason(study)[1].endswith(
        "better than the baseline beyond the noise of the test samples"
    )
    alike = {CE: BASE, FOCAL: {s: [h[0] + 3, h[1] - 3, h[2]] for s, h in BASE.items()}}
    found = answers(make(alike, adjusted=NO_SHIFT, margin=0.01))
    assert found.use.startswith("Use cross_entropy: no variant differs by what matters")
    assert found.open == (
        "focal does not differ from the baseline by what matters, but on 300 test samples "
        "this may still be chance: more test samples would tell."
    )


def test_one_is_no_plural(make):
    study = make({CE: BASE, FOCAL: BASE}, adjusted=NO_SHIFT, margin=0.01)
    said = " ".join(f.text for f in collect_findings(study))
    assert "no difference that matters, none of 1 point:" in said
    assert not re.search(r"\b(of )?1 (points|classes|columns|differences)\b", said)


@pytest.mark.parametrize(
    ("others", "seconds", "told"),
    [
        ({}, {}, (CE, "the only variant")),
        ({FOCAL: shifted(9)}, {}, (FOCAL, "the only one that is better than the baseline")),
        ({FOCAL: shifted(9), LA: shifted(14)}, {}, (LA, "the one that gains most on the baseline")),
        ({FOCAL: shifted(4, 9)}, {}, (CE, "the baseline, as none is shown to be better")),
        (
            {FOCAL: BASE},
            {CE: 9.0},
            (FOCAL, "the fastest of those alike, as none is shown to be better"),
        ),
    ],
)
def test_the_variant_of_the_predictions_has_a_reason(make, others, seconds, told):
    study = make({CE: BASE, **others}, adjusted=NO_SHIFT, seconds=seconds)
    assert best_and_reason(study) == told
    assert best_variant(study) == told[0]


def test_one_variant_and_none(make):
    assert answers(make({CE: BASE}, adjusted=NO_SHIFT)).use == (
        "cross_entropy was trained alone, and has 71.1% of balanced accuracy."
    )
    broken = answers(make({CE: {0: None}, FOCAL: {0: [70] * 3}}))
    assert broken.use == "Nothing yet: no run of cross_entropy, the baseline, is finished."
    nothing = answers(make({CE: {0: None}, FOCAL: {0: None}}))
    assert nothing.use == "Nothing yet: no run of a variant is finished."
    assert nothing.references == "No classical model is finished yet."


def test_what_is_said_of_references_that_stand_beside_no_variant_yet(make):
    part, rest = {0: [70] * 3, 1: None}, {0: None, 1: [60] * 3}
    apart = make({CE: part}, adjusted=NO_SHIFT, references={LINEAR: rest})
    assert answers(apart).references == (
        "No finished reference shares a seed with cross_entropy yet."
    )
    alone = make({CE: {0: None}}, references={LINEAR: {0: [60] * 3}})
    assert answers(alone).references == "No variant is finished to stand beside the references."


def test_scores_that_are_all_the_same_are_called_too_coarse(make):
    same = {s: [70, 70, 70] for s in BASE}
    study = make({CE: same, FOCAL: same}, adjusted=NO_SHIFT)
    assert answers(study).open.startswith("All runs of focal and the baseline have one and the")
    [found] = [f for f in collect_findings(study) if f.code == "CP330"]
    assert found.text.endswith("all runs of both have the same score.")
