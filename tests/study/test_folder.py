"""A study's folder: what it says of itself, whose it is, and what a stranger can put there."""

import os
import shutil
from pathlib import Path

import pytest
from tests.study.small import files, plan, run

from counterpoise.study import (
    Plan,
    compare,
    open_study,
    record,
    usual_folder,
)
from counterpoise.study.environment import run_environment
from counterpoise.study.events import Planned, Started


def test_runs_of_another_environment_are_kept_and_said(finished, tmp_path, monkeypatch):
    from counterpoise import findings

    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    elsewhere(folder, "predictions.npz", kernels="others")
    before = files(folder)
    (planned,) = (e for e in run(plan(), folder) if isinstance(e, Planned))
    assert len(planned.kept) == 4
    (said,) = planned.other_environment.values()
    difference = f"kernels others in place of {run_environment()['kernels']}"
    assert said == [difference]
    assert files(folder) == before
    (found,) = (f for f in findings.collect_findings(open_study(folder)) if f.code == "CP401")
    assert found.text.startswith("1 of 4 runs were trained in another environment")
    assert difference in found.text


def test_runs_of_another_environment_are_trained_again_if_the_plan_says_so(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    elsewhere(folder, "predictions.npz", kernels="others")
    events = run(plan(on_other_environment="rerun"), folder)
    assert sum(isinstance(e, Started) for e in events) == 1
    kept = {k: v for k, v in files(folder).items() if k not in ("plan.toml", "study.json")}
    assert kept.items() <= files(finished).items()


def elsewhere(folder, name, **changes):
    """Let one run have been trained in another environment."""
    place = next(folder.glob(f"runs/*/{name}")).parent
    found = record.read(place)
    found["environment"] |= changes
    (place / "run.json").write_text(record.seal(found))


def test_whether_runs_of_another_environment_are_kept_is_one_of_two_words():
    with pytest.raises(ValueError, match="on_other_environment must be one of keep, rerun"):
        plan(on_other_environment="rerunn")


def test_neither_engine_nor_workers_nor_environment_are_in_the_identity(finished):
    spec = open_study(finished).records[0].run["spec"]
    assert set(spec) == {
        *("variant", "seed", "stage", "metric", "training", "sources", "data"),
    }


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("margin = 0.01", "margin = 0.02", ("margin",)),
        ("epochs = 2", "epochs = 3", ("training.epochs",)),
        ("seeds = [0, 1]", "seeds = 2", ()),
        ("margin = 0.01", "margin = -1", None),
        ("margin = 0.01", "margin =", None),
    ],
)
def test_an_edited_plan_is_an_edit(finished, tmp_path, before, after, said):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    path = folder / "plan.toml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    study = open_study(folder)
    assert study.plan == open_study(finished).plan
    assert study.scores() == open_study(finished).scores()
    if said is None:
        assert study.edited[0].startswith("that it cannot be read (")
    else:
        assert study.edited == said


def test_a_plan_in_a_studys_folder_is_run_there(finished, tmp_path, monkeypatch):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(tmp_path)
    assert compare(folder / "plan.toml").folder == folder
    assert not (tmp_path / "studies").exists()


def test_a_study_of_another_version_is_refused_and_not_replaced(finished, tmp_path, monkeypatch):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    content = record.unseal(folder / "study.json")
    monkeypatch.setattr(record, "FORMAT", 2)
    (folder / "study.json").write_text(record.seal(content))
    monkeypatch.undo()
    before = files(folder)
    for call in (lambda: open_study(folder), lambda: run(plan(), folder)):
        with pytest.raises(ValueError, match="is of format 2, but this counterpoise reads 1"):
            call()
    assert files(folder) == before


def test_data_kept_with_a_study_are_checked(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    path = folder / "data.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(record.Damaged, match="not the file that the study was run on"):
        open_study(folder).data_file  # noqa: B018
    run(plan(), folder)
    assert files(folder) == files(finished)


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/etc"), "runs", "figures"])
def test_nothing_in_a_study_leads_out_of_it(finished, tmp_path, make):
    folder, outside = tmp_path / "study", tmp_path / "outside"
    shutil.copytree(finished, folder)
    outside.mkdir()
    if callable(make):
        make(folder / "runs" / "thing")
    else:
        shutil.rmtree(folder / make, ignore_errors=True)
        (folder / make).symlink_to(outside)
    for call in (lambda: open_study(folder), lambda: run(plan(), folder)):
        with pytest.raises(ValueError, match="must hold folders and ordinary files only"):
            call()
    assert list(outside.iterdir()) == []


def test_two_data_sets_never_share_a_usual_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ds_v1.0", "ds_v1.1", "a/photos", "b/photos", "digits", "churn"):
        Path(name).mkdir(parents=True)
    Path("churn.csv").touch()
    every = [
        *("ds_v1.0", "ds_v1.1", "a/photos", "b/photos", "a%2Fphotos", "digits", "./digits"),
        *("churn", "churn.csv", "churn.csv:A", "churn.csv:B", "churn_csv", "m:digits", "m.digits"),
        *("x" * 300, "x" * 301, f"../{tmp_path.name}/c"),
    ]
    folders = [usual_folder(Plan(name)) for name in every]
    assert len(set(folders)) == len(every)
    assert all(folder.parent == Path("studies") for folder in folders)
    assert all(len(folder.name) < 250 for folder in folders)
    assert usual_folder(Plan("ds_v1.0/")) == usual_folder(Plan("./ds_v1.0")) == folders[0]
    assert usual_folder(Plan(str(tmp_path / "a" / "photos"))) == folders[2]
    assert usual_folder(Plan("toy"), "0" * 64) != usual_folder(Plan("toy"), "1" * 64)


def test_a_record_that_moved_is_not_taken_for_another_run(finished, tmp_path):
    """Whole, and with the right digests, but in the place of another loss or seed."""
    one, other = sorted((finished / "runs").iterdir())[:2]
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    for a, b in ((one, other), (other, one)):
        shutil.rmtree(folder / "runs" / b.name)
        shutil.copytree(a, folder / "runs" / b.name)
    with pytest.raises(record.Damaged, match="is another run's"):
        open_study(folder)
    run(plan(), folder)
    assert files(folder) == files(finished)


def test_a_study_that_lacks_what_is_said_of_its_data_is_written_again(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    content = record.unseal(folder / "study.json")
    del content["data"]["bytes"]
    (folder / "study.json").write_text(record.seal(content))
    run(plan(), folder)
    assert files(folder) == files(finished)


def test_a_study_of_before_readings_were_kept_opens_and_gets_one(finished, tmp_path):
    assert open_study(finished).data["reading"]["shape"] == [1, 8, 8]
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    content = record.unseal(folder / "study.json")
    del content["data"]["reading"]
    (folder / "study.json").write_text(record.seal(content))
    assert open_study(folder).data["reading"] == {}
    run(plan(), folder)
    assert files(folder) == files(finished)


@pytest.mark.parametrize("name", ["../../victim", "/etc", "a/b", ".", ".."])
def test_runs_have_plain_names(finished, tmp_path, name):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    content = record.unseal(folder / "study.json")
    content["runs"][name] = next(iter(content["runs"].values()))
    (folder / "study.json").write_text(record.seal(content))
    with pytest.raises(record.Damaged, match="is no name of a run"):
        open_study(folder)


FORGED = (None, True, "x", -1, 1e308, [], {}, [[]], {"x": {}}, "../../etc/passwd", "[/b]\x1b[2J")


def forged(content):
    """Yield (where, content) with each value of two levels replaced by each of FORGED, or gone."""
    for key, value in content.items():
        for new in FORGED:
            yield key, {**content, key: new}
        yield f"no {key}", {k: v for k, v in content.items() if k != key}
        if isinstance(value, dict):
            for inner in value:
                for new in FORGED:
                    yield f"{key}.{inner}", {**content, key: {**value, inner: new}}
                rest = {k: v for k, v in value.items() if k != inner}
                yield f"no {key}.{inner}", {**content, key: rest}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["study.json", "looks.json", "run.json", "timing.json"])
def test_what_was_put_together_with_the_right_digests_is_refused_or_shown(finished, tmp_path, name):
    """As a forger would: never another kind of error."""
    from counterpoise import findings, report

    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    path = next(folder.rglob(name))
    refused = shown = 0
    for where, content in forged(record.unseal(path)):
        path.write_text(record.seal(content))
        try:
            study = open_study(folder)
            findings.collect_findings(study)
            if shown % 10 == 0:
                report.render(study)
            shown += 1
        except ValueError:
            refused += 1
        except Exception as error:
            raise AssertionError(where) from error
    assert refused > 10
    assert shown > 0
