"""`findings.collect_findings`: all checks together, their codes and their page."""

import dataclasses
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise.findings import ALL_CHECKS, CODES, _paragraphs, collect_findings, paragraphs
from counterpoise.findings._codes import page_of_codes
from counterpoise.findings.finding import sentence
from counterpoise.study import Training, Tuning, compare

ROOT = Path(__file__).parents[2]
CE, FOCAL, BALANCED = "cross_entropy", "focal", "balanced_softmax"
REFERENCES = ("logistic regression", "gradient boosting", "always the largest class")
SEVERITIES = ["problem", "caution", "note", "result"]
SINGLE_RUNS = re.compile("CP20|CP30|CP31")  # of `counterpoise.exercise`


def test_the_reader_of_numbers_finds_them(numbers, backed) -> None:
    found = {1.5, 3e-5, 12e3, -2, 10}
    assert numbers("macro-F1 +1.5 at 3e-05, 12,000 (-2.0 points), 10.") == found
    with pytest.raises(AssertionError):
        backed([sentence("CP101", "10", {"images": 11})])


def random_study(draw):
    """What `make` takes for a study of three variants, up to four seeds and six classes.

    Args:
        draw: a `random.Random`; one number makes a study, so that a failure shrinks fast.
    """
    classes, seeds, epochs = draw.randint(2, 6), range(draw.randint(1, 4)), draw.randint(1, 12)
    labels = (CE, FOCAL, BALANCED)
    sizes = [draw.choice([0, 3, 40, 200]) + (k == 0) for k in range(classes)]
    rates = draw.choice([(), (0.1,), (0.01, 0.1)])
    train_counts = [draw.choice([0, 9, 50, 300]) for _ in range(classes)]
    skill = {label: draw.choice([0.0, 0.5, 0.8]) for label in labels}
    shift = {label: draw.choice([-0.1, 0.0, 0.1]) for label in labels}  # towards the small classes

    def hits(label):
        shares = [
            skill[label] + shift[label] * (1 if n < 100 else -1) + draw.uniform(-0.02, 0.02)
            for n in train_counts
        ]
        return [round(min(1, max(0, s)) * n) for s, n in zip(shares, sizes, strict=True)]

    def layer():
        shares = [draw.choice([None, 0.0, 1e-12, 1e-7, 0.1, 0.95, 1.0]) for _ in range(2)]
        return {
            "name": draw.choice(["conv1", "layers.1", "0"]),
            "visible_share": shares[0],
            "dead_share": shares[1],
            "grad_norm": draw.choice([None, 0.0, 1e-9, 0.1, 2.0, 1e9]),
        }

    def history():
        slopes = [draw.uniform(-1, 1) for _ in range(3)]
        return [
            {
                "loss": 3 + slopes[0] * k / 10,
                "validation_nll": 2 + slopes[1] * k / 10,
                "validation_accuracy": 0.5 + slopes[2] * k / 30,
                "validation_balanced_accuracy": 0.5 + slopes[2] * k / 30,
            }
            for k in range(epochs + 1)
        ]

    made = {
        "hits": {
            label: {s: hits(label) if label == CE or draw.random() < 0.9 else None for s in seeds}
            for label in labels
        },
        "sizes": sizes,
        "adjusted": {label: {s: hits(draw.choice(labels)) for s in seeds} for label in labels},
        "train_counts": train_counts,
        "validation_sizes": [draw.randint(0, 2) + (k == 0) for k in range(classes)],
        "seen": {BALANCED: draw.choice([[5.0] * classes, train_counts])},
        "histories": {label: history() for label in labels},
        "flows": {label: [layer() for _ in range(draw.randint(0, 3))] for label in labels},
        "failed": [
            (FOCAL, s, lr, stage, "Diverged: the loss is nan in epoch 3")
            for s in seeds
            for stage, lr in (("final", 0.1), *(("tuning", r) for r in rates))
            if draw.random() < 0.5
        ],
        "choices": {label: draw.choice(rates) for label in labels} if rates else {},
        "metric": draw.choice(["balanced_accuracy", "accuracy", "macro_f1"]),
        "margin": draw.choice([0.0003, 0.01, 0.2]),
        "training": Training("mlp", epochs=epochs, lr="auto" if rates else 0.1),
        "tuning": Tuning(rates),
        "references": {
            label: {s: hits(draw.choice(labels)) if draw.random() < 0.9 else None for s in seeds}
            for label in draw.choice([(), REFERENCES])
        },
    }
    if draw.random() < 0.2:
        made["hits"][BALANCED], made["same"] = made["hits"][FOCAL], (FOCAL, BALANCED)
    if draw.random() < 0.5:
        made["normalized"] = {CE: {s: hits(draw.choice(labels)) for s in seeds}}
    return made


ELSEWHERE = {  # they need other inputs
    "CP102",
    "CP103",
    "CP107",
    "CP108",
    "CP109",
    "CP330 cannot tell yet",
    "CP336",
    "CP344",
    "CP345",
    "CP401",
    "CP402",
}


def test_every_number_of_a_finding_is_evidence(make, backed):
    told, together = set(), set()
    for seed in range(80):
        found = collect_findings(make(**random_study(random.Random(seed))))
        backed(found)
        for f in found:
            if (case := _paragraphs._case(f)) in _paragraphs._TOGETHER:
                backed(
                    [as_one(f, dataclasses.replace(f, evidence=f.evidence | {"label": "other"}))]
                )
                together.add(case)
        assert sorted((f for p in paragraphs(found) for f in p.findings), key=found.index) == found
        assert found == sorted(found, key=lambda f: (SEVERITIES.index(f.severity), f.code))
        told |= {f.code for f in found}
        for f in found:
            if "is better than" in f.text:
                assert f.evidence["low"] >= 0
            if "is worse than" in f.text:
                assert f.evidence["high"] <= 0
    assert told == ALL_CHECKS.keys() - ELSEWHERE
    assert together == _paragraphs._TOGETHER.keys() - ELSEWHERE


def as_one(*same):
    """One finding with the text of the paragraph of equal ones, and with their evidence."""
    (paragraph,) = paragraphs(same)
    assert all(f.evidence["label"] in paragraph.text for f in same)
    return dataclasses.replace(same[0], text=paragraph.text)


def test_what_more_seeds_would_tell_of_many_is_one_paragraph(make):
    base = {s: [70 + s, 70 - s, 70] for s in range(5)}
    names = (
        "focal",
        "ldam",
        "poly",
        "vs",
        "weighted",
        "cdt",
        "balanced_softmax",
        "logit_adjusted",
        "class_balanced",
    )
    open_yet = {
        name: {s: [h[0], h[1] + 9 + k % 2, h[2] + 9 * (-1) ** s] for s, h in base.items()}
        for k, name in enumerate(names, 1)
    }
    found = collect_findings(make({CE: base, **open_yet}))
    (several,) = (p for p in paragraphs(found) if p.code == "CP330")
    assert several.text.startswith("Whether 9 variants are better or worse than cross_entropy in ")
    assert several.text.count(CE) == 1
    assert several.whole
    for f in several.findings:
        numbers = (
            "{label} {difference:+.1f} points ({low:+.1f} to {high:+.1f}, better in {wins} of 5"
        )
        assert numbers.format(**f.evidence) in several.text


def test_what_is_muted_is_not_told(make):
    study = make({CE: {0: [19, 19]}, FOCAL: {0: [19, 19]}}, (20, 20))
    before = [f.code for f in collect_findings(study)]
    assert before == ["CP101", "CP309", "CP330"]
    assert [f.code for f in collect_findings(study, mute=["CP101", "CP330"])] == ["CP309"]
    with pytest.raises(ValueError, match="did you mean 'CP101'"):
        collect_findings(study, mute=["CP10"])


def test_a_code_means_one_thing_and_has_a_severity():
    of_studies = {code for code in CODES if not SINGLE_RUNS.match(code)} | {"CP309"}
    assert ALL_CHECKS.keys() == of_studies
    assert {c.severity for c in CODES.values()} == set(SEVERITIES)
    assert len({c.title for c in CODES.values()}) == len(CODES)
    assert list(CODES) == sorted(CODES)


def test_every_code_says_what_to_do():
    fields = [field for c in CODES.values() for field in vars(c).values()]
    assert [field for field in fields if not field or "\n" in field] == []
    # A page shows code in backticks, and no other Markdown.
    advice = [words for c in CODES.values() for words in (c.meaning, c.advice, c.wrong)]
    assert [words for words in advice if words.count("`") % 2 or re.search(r"\*|\]\(", words)] == []


def test_findings_are_plain_data(make):
    (found,) = collect_findings(make({CE: {0: [19, 19]}}, (20, 20)))
    assert json.loads(json.dumps(found.to_dict())) == {
        "code": "CP101",
        "severity": "caution",
        "title": "too few test samples of a class",
        "text": found.text,
        "evidence": found.evidence,
        "docs": "findings.md#cp101",
    }


def test_the_page_of_codes_is_the_one_that_is_made_from_them():
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    begin = page.index("\n## ") + 1
    assert page[begin:] == page_of_codes()  # which to write there, after a change


def test_a_real_study_is_judged_without_torch(tmp_path):
    quick = Training("mlp", epochs=2, lr=0.1)
    compare("digits", losses=[CE, FOCAL], seeds=1, out=tmp_path, training=quick)
    code = (
        "import sys\n"
        "from counterpoise.findings import collect_findings\n"
        "from counterpoise.study import open_study\n"
        f"found = collect_findings(open_study({str(tmp_path)!r}))\n"
        "print(*[f.code for f in found])\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {"CP101", "CP309", "CP340", "CP330"} <= set(done.stdout.split())
