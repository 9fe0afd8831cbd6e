"""Studies of Datasets that are read anew in each epoch, and kept nowhere."""

import os
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from tests.study.small import files, run
from torch.utils.data import Dataset

from counterpoise.data import Rows, Unstored, cache, load
from counterpoise.data._entries import mark
from counterpoise.report import render
from counterpoise.study import Data, Plan, Training, open_study
from counterpoise.study.engines._parcel import pack
from counterpoise.study.engines.local import run_all
from counterpoise.study.events import Epoch, Finished
from counterpoise.study.one_run import train_run

MODULE = """
import torch
from torch.utils.data import Dataset, Subset

draw = torch.Generator().manual_seed(0)
y = torch.arange(90) % 3
images = torch.randint(0, 200, (90, 3, 9, 9), dtype=torch.uint8, generator=draw) + 20 * y.to(
    torch.uint8
).view(-1, 1, 1, 1)
vectors = torch.randn(90, 5, generator=draw) + y[:, None]


class Pairs(Dataset):
    classes = ("ant", "bee", "cow")

    def __init__(self, x, reads=None):
        self.x, self.reads = x, reads

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], int(y[index])


def of_images():
    return Pairs(images)


def split():
    whole = Pairs(vectors)
    return {"val": Subset(whole, range(15)), "train": Subset(whole, range(15, 90))}
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's; returns a function that writes it anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text):
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        (tmp_path / "mine.py").write_text(text)

    write(MODULE)
    return write


def plan(source, where, seeds=(0,), **training):
    return Plan(
        Data(source, cache=str(where)),
        norms=("none",),
        losses=("cross_entropy",),
        seeds=seeds,
        training=Training("mlp", **{"epochs": 2, "lr": 0.1, "batch_size": 16, **training}),
    )


@pytest.mark.parametrize("source", ["mine:of_images", "mine:split"])
def test_results_are_byte_for_byte_those_of_the_cache(mine, tmp_path, source, monkeypatch):
    """Floating inputs are standardized, in more than one block, and a test split is held out."""
    monkeypatch.setattr("counterpoise.data._standardizer._BLOCK", 100)
    augment = "flip+crop" if "images" in source else "none"
    expected, found = tmp_path / "kept", tmp_path / "never"
    run(plan(source, tmp_path / "cache", augment=augment), expected, workers=1)
    assert cache.entries(str(tmp_path / "cache"))
    usual = cache.entries()
    run(plan(source, "never", augment=augment), found, workers=1)
    assert cache.entries() == usual
    assert not (tmp_path / "never" / "entry.json").exists()
    same = {name: digest for name, digest in files(expected).items() if name.startswith("runs/")}
    assert any(name.endswith("predictions.npz") for name in same)
    assert {k: v for k, v in files(found).items() if k.startswith("runs/")} == same
    study = open_study(found)
    assert study.samples("test") is None
    assert any("read anew in each epoch" in note for note in study.data["notes"])
    assert "Study" in repr(study)
    assert render(study).exists()
    again = run(plan(source, "never", augment=augment), expected, workers=1)
    assert all(event.kept for event in again if isinstance(event, Finished))


def test_rows_are_read_on_use_by_index_in_blocks_and_ahead(mine):
    data = load("mine:of_images", cache="never")
    whole = load("mine:of_images", cache="auto")
    rows = data.train.inputs
    assert isinstance(rows, Rows)
    assert isinstance(rows.unstored, Unstored)
    expected = whole.train.inputs[:]
    assert torch.equal(rows[:], expected)
    assert torch.equal(rows[-1], expected[-1])
    assert torch.equal(torch.cat(list(rows.split(7))), expected)
    order = torch.randperm(len(rows)).split(11)
    ahead = list(rows.in_batches(order))
    assert all(torch.equal(x, expected[i]) for x, i in zip(ahead, order, strict=True))
    before = torch.get_rng_state()
    list(rows.split(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert rows[[]].shape == (0, 3, 9, 9)


@pytest.mark.parametrize("readers", [1, 2])
def test_entries_that_change_later_are_refused(mine, tmp_path, readers, monkeypatch):
    monkeypatch.setattr("counterpoise.data._unstored.cores", lambda: 2)
    rows = load("mine:of_images", cache="never").train.inputs
    rows.unstored.readers = readers
    rows.unstored.dataset.x[int(rows.index[20])] += 1
    with pytest.raises(
        ValueError, match=r"^mine:of_images train must give the same entries each t"
    ):
        list(rows.split(8))


def test_other_datasets_than_the_study_began_with_are_refused(mine, tmp_path):
    from tests.study.small import prepared

    (tmp_path / "study").mkdir()
    work = prepared(plan("mine:of_images", "never"), tmp_path / "study")
    job = work.job(work.names("final")[0])
    with pytest.raises(ValueError, match=r"engine ray sends them, but data\.cache is 'never'"):
        pack({"run": job}, "")
    mine(MODULE.replace("Pairs(images)", "Pairs(images[:80])"))
    with pytest.raises(ValueError, match="of 90 entries, but gives 80; counterpoise compare with"):
        train_run(job, lambda event: None)
    mine(MODULE.replace("y = torch.arange(90) % 3", "y = torch.arange(90) * 2 % 3"))
    with pytest.raises(ValueError, match="the same entries each time, but entry"):
        train_run(job, lambda event: None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("Pairs(torch.full((90, 2), torch.nan))", "entry 0 has a NaN or infinity; fill or remove"),
        ("vectors, y", "'never' is for torch Datasets by module:name, .* a pair"),
    ],
)
def test_what_cannot_be_read_anew_is_refused(mine, body, said):
    mine(MODULE.replace("Pairs(images)", body))
    with pytest.raises(ValueError, match=said):
        load("mine:of_images", cache="never")


def test_nothing_but_datasets_is_kept_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{k},{k % 2}\n" for k in range(9)))
    np.savez(tmp_path / "t.npz", x=np.zeros((9, 2)), y=np.arange(9) % 3)
    (tmp_path / "pics" / "a").mkdir(parents=True)
    for source in ("digits", "t.csv", "t.npz", "pics"):
        with pytest.raises(ValueError, match="cache must be a folder, or auto"):
            load(source, cache="never")
    with pytest.raises(ValueError, match=r"data\.cache = 'never' is for torch Datasets"):
        run(plan("digits", "never"), tmp_path / "study", data={tmp_path / "study": load("digits")})
    assert not (tmp_path / "never").exists()


class Slow(Dataset):
    """Entries that take a while, and say who reads them."""

    def __init__(self, folder):
        self.folder = folder

    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        (self.folder / str(os.getpid())).touch()
        time.sleep(0.01)
        return torch.zeros(2), 0


def read_forever(folder, emit):
    marks = torch.full((10_000,), mark(torch.zeros(2), 0))
    rows = Rows(Unstored("slow", Slow(folder), (10_000, 2), torch.float32, marks, readers=2))
    rows.unstored.readers = 2
    emit(Epoch("run", {"pid": os.getpid()}))
    for _ in rows.split(4):
        time.sleep(1)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux has them")
@pytest.mark.parametrize("how", ["killed", "closed"])
def test_readers_end_with_their_run(tmp_path, monkeypatch, how):
    events = run_all(read_forever, {"run": tmp_path}, workers=1)
    event = next(event for event in events if isinstance(event, Epoch))
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    readers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(readers) == 2
    if how == "killed":
        psutil.Process(event.row["pid"]).kill()
    events.close()

    def alive(pid):
        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE

    while any(map(alive, readers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, readers))
