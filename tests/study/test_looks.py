"""Looks at a study: what is recorded of them, which rule follows, and seeds that are added."""

import shutil
import sys
import tomllib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tests.study.small import files, plan, run

from counterpoise import cli, findings, stats
from counterpoise.study import _stream, open_study, record, state, storage
from counterpoise.study._looks import Look, rule_of
from counterpoise.study._more_seeds import next_seeds
from counterpoise.study.events import Failed, Finished, Notice, Planned, Started
from counterpoise.study.plan_file import read, write

FIXED, LATER = Look(5, "fixed", 5), Look(5, "sequential", 20)
SURE, UNSURE = 0.02, 0.006  # differences that five seeds show, and that nine do not


def of(seeds, **settings):
    return plan(seeds=tuple(range(seeds)), **settings)


@pytest.mark.parametrize(
    ("made", "seen", "rule"),
    [
        (of(5), (), None),
        (of(5), (FIXED,), None),
        (of(4), (FIXED,), None),
        (of(5), (Look(4, "fixed", 5),), None),  # a run had failed
        (of(8), (FIXED,), stats.Looks(5, 200)),
        (of(8), (Look(4, "fixed", 5),), stats.Looks(4, 200)),
        (of(8, most_seeds=20), (FIXED,), stats.Looks(5, 20)),
        (of(3, sequential=True), (), stats.Looks(3, 200)),
        (of(1, sequential=True), (), None),
        (of(5, most_seeds=20), (), stats.Looks(5, 20)),
        (of(8, most_seeds=20), (LATER,), stats.Looks(5, 20)),
        (of(8), (LATER,), stats.Looks(5, 20)),  # no way back to a number fixed beforehand
        (of(8, most_seeds=40), (LATER,), stats.Looks(5, 20)),
        (of(21, most_seeds=40), (LATER,), stats.Looks(5, 200)),
        (of(3, most_seeds=20), (LATER,), stats.Looks(3, 20)),
        (of(300), (FIXED,), stats.Looks(5, 300)),
    ],
)
def test_the_rule_follows_from_the_plan_and_the_looks_before(made, seen, rule):
    assert rule_of(made, seen) == rule


@pytest.fixture
def scored(finished, monkeypatch):
    """Let runs end at once with made-up scores; what is returned holds difference and failures."""
    noise = np.random.default_rng(0).normal(scale=0.004, size=(2, 400))
    about = {"difference": SURE, "fails": set(), "killed": set()}
    done = {r.label: r.folder for r in open_study(finished).records if r.seed == 0}

    def run_jobs(jobs, engine, *, workers=None):
        for name, job in jobs.items():
            label, seed = job.spec.variant.loss, job.spec.seed
            if seed in about["killed"]:
                raise KeyboardInterrupt
            yield Started(name)
            if seed in about["fails"]:
                yield Failed(name, "made up")
                continue
            shutil.copytree(done[label], job.folder)
            found = record.unseal(job.folder / "run.json") | {"spec": job.spec.to_json()}
            other = label == "focal"
            found["test"]["balanced_accuracy"] = (
                0.7 + noise[int(other), seed] + other * about["difference"]
            )
            (job.folder / "run.json").write_text(record.seal(found))
            (job.folder / "timing.json").write_text(record.seal({"run": name, "seconds": 1.0}))
            yield Finished(name)

    monkeypatch.setattr(_stream, "run_jobs", run_jobs)
    return about


def auto(most):
    return plan(seeds=f"auto:{most}")


def said(events):
    return [e.text for e in events if isinstance(e, Notice)]


def seen(folder):
    return [look.seeds for look in open_study(folder).seen]


def test_seeds_are_added_until_every_verdict_is_decided(scored, tmp_path):
    events = run(auto(20), tmp_path)
    assert said(events) == ["After 5 seeds: 1 of 1 verdicts decided"]
    study = open_study(tmp_path)
    assert (study.looks, study.seen) == (stats.Looks(5, 20), (Look(5, "sequential", 20),))
    assert [v.verdict for v in study.verdicts()] == ["better"]
    (verdict,) = study.verdicts()
    scores = study.scores()
    alone = stats.compare_variants(scores, "cross_entropy", looks=stats.Looks(5, 20))
    assert verdict.interval == alone[0].interval
    (once,) = stats.compare_variants(scores, "cross_entropy")
    assert verdict.interval.low < once.interval.low


def test_seeds_are_added_up_to_the_most_and_no_further(scored, tmp_path):
    scored["difference"] = UNSURE
    events = run(auto(9), tmp_path)
    assert seen(tmp_path) == [5, 8, 9]
    assert said(events)[0].startswith("After 5 seeds: 0 of 1 verdicts decided; open: focal. Next: ")
    assert said(events)[-1].endswith("open: focal; 9 is the most that was planned")
    study = open_study(tmp_path)
    assert study.looks == stats.Looks(5, 9)
    assert "looks at 5, 8, 9 of at most 9 seeds" in study.looks_words
    assert [len(e.runs) for e in events if isinstance(e, Planned) and e.runs] == [10, 6, 2]
    assert state.state_of(str(tmp_path)).finished
    assert not any(f.code == "CP345" for f in findings.collect_findings(study))


@pytest.mark.parametrize("killed", [3, 6, 8])
def test_a_study_that_was_killed_within_a_step_ends_with_the_same_bytes(scored, tmp_path, killed):
    scored["difference"] = UNSURE
    run(auto(9), tmp_path / "whole")
    scored["killed"] = {killed}
    with pytest.raises(KeyboardInterrupt):
        run(auto(9), tmp_path / "killed")
    assert not state.state_of(str(tmp_path / "killed")).finished
    assert seen(tmp_path / "killed") == [n for n in (5, 8) if n <= killed]
    scored["killed"] = set()
    run(auto(9), tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_study_killed_between_its_steps_ends_with_the_same_bytes(scored, tmp_path, monkeypatch):
    scored["difference"] = UNSURE
    run(auto(9), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(_stream, "next_seeds", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(auto(9), tmp_path / "killed")
    assert not state.state_of(str(tmp_path / "killed")).finished  # so that a watcher stays
    run(auto(9), tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def interrupt(study):
    raise KeyboardInterrupt


def test_the_number_of_runs_is_right_from_the_start_of_each_step(scored, tmp_path):
    scored["difference"] = UNSURE
    for made in (of(5), of(8), auto(9)):
        total = ended = 0
        for event in run(made, tmp_path):
            if isinstance(event, Planned):
                total += len(event.runs)
                step = total + event.runs_later
            elif isinstance(event, Finished):
                ended += 1
                assert ended <= step
        assert ended == total == step == 2 * len(open_study(tmp_path).plan.seeds)


def test_a_run_that_failed_is_no_other_look(scored, tmp_path):
    scored["fails"] = {2}
    run(of(5), tmp_path)
    assert open_study(tmp_path).seen == (Look(4, "fixed", 5),)
    scored["fails"] = set()
    run(of(5), tmp_path)
    study = open_study(tmp_path)
    assert (study.looks, study.overtaken) == (None, [])


def test_seeds_that_nobody_planned_are_told(scored, tmp_path):
    run(of(5), tmp_path)
    assert open_study(tmp_path).looks_words.endswith("at a number of seeds fixed beforehand: 5.")
    before = (tmp_path / "looks.json").read_bytes()
    run(of(5), tmp_path)
    assert (tmp_path / "looks.json").read_bytes() == before
    run(of(8), tmp_path)
    study = open_study(tmp_path)
    assert study.seen == (FIXED, Look(8, "sequential", 200))
    (found,) = (f for f in findings.collect_findings(study) if f.code == "CP345")
    assert "read at 5 seeds by the rule for a number fixed" in found.text
    assert "read at 8 now" in found.text
    (first,) = stats.compare_variants(study.scores(), "cross_entropy", looks=stats.Looks(5, 200))
    assert study.verdicts()[0].interval == first.interval
    references = {"x": study.scores()["focal"], "cross_entropy": study.scores()["cross_entropy"]}
    assert study.compare(references, "cross_entropy")[0].interval == first.interval


def test_a_study_beyond_its_plan_is_told(scored, tmp_path):
    scored["difference"] = UNSURE
    run(auto(9), tmp_path)
    run(of(12), tmp_path)
    (found,) = (f for f in findings.collect_findings(open_study(tmp_path)) if f.code == "CP345")
    assert found.text.startswith(
        "Verdicts were planned to be read at 9 seeds at most, and are read"
    )


def test_a_sequential_study_may_be_extended(scored, tmp_path):
    run(of(5, sequential=True), tmp_path)
    run(of(8, sequential=True), tmp_path)
    study = open_study(tmp_path)
    assert (study.looks, study.overtaken) == (stats.Looks(5, 200), [])


def test_looks_without_a_file_of_other_data_and_damaged_ones(scored, tmp_path):
    run(of(5), tmp_path)
    path = tmp_path / "looks.json"
    kept = record.unseal(path)
    path.unlink()
    assert open_study(tmp_path).seen == ()  # of an earlier version
    path.write_text(record.seal({**kept, "data": "others"}))
    assert open_study(tmp_path).seen == ()
    for content in (path.read_text().replace("5", "4"), record.seal({**kept, "looks": [{}]}), "x"):
        path.write_text(content)
        before = files(tmp_path)
        for call in (lambda: open_study(tmp_path), lambda: run(of(8), tmp_path)):
            with pytest.raises(record.Damaged, match=r"looks\.json.*; remove it, and ") as told:
                call()
            assert "\n" not in str(told.value)
        assert files(tmp_path) == before


def test_a_storage_gets_the_looks_too(scored, tmp_path):
    run(of(5), tmp_path / "study")
    storage.share(str(tmp_path / "store"), tmp_path / "study")
    assert (tmp_path / "store/looks.json").read_bytes() == (
        tmp_path / "study/looks.json"
    ).read_bytes()


OPEN = stats.compare_variants(
    {
        "a": dict(enumerate([0.7, 0.72, 0.71, 0.7, 0.73])),
        "b": dict(enumerate([0.7, 0.74] + 3 * [0.71])),
    },
    "a",
)[0]


@pytest.mark.parametrize(
    ("verdicts", "number"),
    [
        ([replace(OPEN, seeds_needed=6)], 6),
        ([replace(OPEN, seeds_needed=7), replace(OPEN, seeds_needed=6)], 7),
        ([replace(OPEN, seeds_needed=90)], 8),
        ([replace(OPEN, seeds_needed=3)], 6),
        ([replace(OPEN, seeds_needed=None, uneven=True)], 8),
        ([replace(OPEN, verdict="better")], 5),
        ([replace(OPEN, reason=stats.NEITHER_LEARNED)], 5),
        ([replace(OPEN, seeds_can_tell=False)], 5),
        ([replace(OPEN, comparison=None)], 5),
    ],
)
def test_the_next_number_of_seeds(verdicts, number):
    study = SimpleNamespace(verdicts=lambda: verdicts, plan=auto_of(5, 20))
    assert OPEN.verdict == "cannot tell yet"
    assert next_seeds(study) == number
    study.plan = auto_of(5, 5)
    assert next_seeds(study) == 5


def auto_of(seeds, most):
    return of(seeds, most_seeds=most)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--seeds", "auto:3"], "auto:N with N from 5 to 200"),
        (["--seeds", "auto:x"], "auto:N with N from 5 to 200"),
        (["--seeds", "auto:500"], "auto:N with N from 5 to 200"),
        (["--seeds", "automatic"], "must be of the kind of 5"),
        (["--seeds", "auto", "--losses", "focal"], "focal is the only variant"),
        (["--seeds", "9", "--set", "most_seeds=8"], "no fewer than seeds, but got 8 and 9 seeds"),
        (["--seeds", "300", "--set", "sequential=true"], "is for 200 seeds at most, but got 300"),
    ],
)
def test_what_cannot_be_added_is_refused_in_one_line(tmp_path, capsys, monkeypatch, more, says):
    out = tmp_path / "study"
    monkeypatch.setattr(
        sys, "argv", ["counterpoise", "compare", "digits", "--out", str(out), *more]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert says in told
    assert told.count("\n") == 1
    assert not out.exists()


def test_a_plan_on_disk_holds_what_auto_means():
    made = auto(12)
    assert made == auto_of(0, 12) == read(tomllib.loads(write(made)))
    assert plan(seeds="auto").most_seeds == 20
    assert "10 runs to compare with 5 seeds at first, and 24 with 12 at most" in made.size
