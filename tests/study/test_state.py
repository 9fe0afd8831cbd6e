"""The state of a study while it runs, from its folder alone."""

import json
import shutil
import time

import pytest
from tests.study.small import plan, prepared

from counterpoise.study import Training
from counterpoise.study.engines.worker import Note
from counterpoise.study.events import Epoch, Progress
from counterpoise.study.state import state_of


@pytest.fixture
def half_done(finished, tmp_path):
    """A finished study whose last run is being done, and whose third one has failed."""
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    kept = json.loads((folder / "study.json").read_text())
    names = sorted(kept["runs"])
    for name in names[2:]:
        (folder / "runs" / name / "run.json").unlink()
    kept["failed"] = {names[2]: "RuntimeError: no"}
    (folder / "study.json").write_text(json.dumps(kept))
    return folder, names, kept["runs"]


def test_what_is_done_runs_failed_and_is_left_is_told(half_done):
    folder, names, rows = half_done
    note = Note(folder / "runs" / names[3], "node7")
    note.content["began"] = time.time() - 30
    note.written = float("-inf")
    note.on_event(Progress(names[3], 0.25))
    note.on_event(Epoch(names[3], {"epoch": 1}))
    note.write()
    state = state_of(str(folder))
    assert (state.done, state.whole, len(state.failed)) == (2, 4, 1)
    (run,) = state.running
    row = rows[names[3]]
    assert run.words == f"{row['label']} · seed {row['seed']}"
    assert (run.host, run.share, run.epoch, run.lost) == ("node7", 0.25, 1, False)
    assert run.seconds == pytest.approx(30, abs=2)
    assert state.seconds_left is None  # nothing is known to have been done since it began
    note.on_event(Progress(names[3], 0.75))
    note.write()
    # Half of it took 30 s; a quarter is left.
    assert state_of(str(folder)).seconds_left == pytest.approx(15, rel=0.1)
    assert not state.finished


def test_a_run_that_is_not_heard_of_is_told(half_done):
    folder, names, _ = half_done
    note = Note(folder / "runs" / names[3])
    note.content["now"] = time.time() - 300
    note.write()
    (run,) = state_of(str(folder)).running
    assert run.lost
    note.remove()
    assert state_of(str(folder)).running == ()


def test_runs_of_stages_to_come_count(tmp_path):
    (tmp_path / "study").mkdir()
    made = plan(training=Training("mlp", epochs=2, batch_size=64))
    work = prepared(made, tmp_path / "study")
    work.runs.clear()
    work.add_tuning()
    work.save()
    state = state_of(str(tmp_path / "study"))
    assert (state.done, state.whole) == (0, 2 * 4 + 2 * 2)
    assert state.seconds_left is None


def test_a_study_of_which_no_tuning_worked_is_finished(tmp_path):
    (tmp_path / "study").mkdir()
    work = prepared(plan(training=Training("mlp", epochs=2, batch_size=64)), tmp_path / "study")
    work.runs.clear()
    work.add_tuning()
    work.failed |= dict.fromkeys(work.runs, "RuntimeError: no")
    work.save()
    state = state_of(str(tmp_path / "study"))
    assert (state.done, state.whole, state.finished) == (0, 8, True)


@pytest.mark.parametrize("note", ["null", "[1]", "{", '{"share": "x"}', '{"began": null}'])
def test_a_note_that_is_none_is_no_run(half_done, note):
    folder, names, _ = half_done
    (folder / "runs" / names[3] / "progress.json").write_text(note)
    (folder / "progress.json").write_text(note)
    assert state_of(str(folder)).running == ()


@pytest.mark.parametrize("key", ["failed", "runs", "plan"])
def test_a_damaged_study_is_told(half_done, key):
    folder, *_ = half_done
    kept = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps({**kept, key: None}))
    with pytest.raises(ValueError, match=r"has no study.json that can be read"):
        state_of(str(folder))


def test_a_folder_without_a_study_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"must be the folder or the storage of a study"):
        state_of(str(tmp_path))
