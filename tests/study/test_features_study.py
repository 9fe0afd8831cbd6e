"""Studies whose heads are trained on the features of a frozen net."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.study.small import run
from tests.test_features import count_given, small_net
from torch.utils.data import TensorDataset

from counterpoise.data import cache, load
from counterpoise.findings import collect_findings
from counterpoise.report import render
from counterpoise.report._thumbnails import Images, data_uri
from counterpoise.study import Data, Imbalance, Plan, Training, open_study
from counterpoise.study import _stream as streaming
from counterpoise.study._prepared import find_kept, keep, read_kept
from counterpoise.study.events import Failed, Finished, Prepared

SIZE = 8


@pytest.fixture
def nets(monkeypatch):
    """Put a small net in the place of timm's."""
    make = lambda t, shape=(1, 1, 1): small_net()  # noqa: E731
    monkeypatch.setattr("counterpoise.study._nets.open_backbone", make)


@pytest.fixture
def given(monkeypatch):
    return count_given(monkeypatch)


def photos(root, each=30):
    """A folder of three classes that their colours tell apart, with a copy among them."""
    draw = np.random.default_rng(0)
    for k, name in enumerate("abc"):
        (root / name).mkdir(parents=True)
        for n in range(each):
            pixels = draw.integers(0, 120, (SIZE, SIZE, 3), np.uint8)
            pixels[..., k] += 100
            Image.fromarray(pixels).save(root / name / f"{n}.png")
    (root / "a" / "1.png").write_bytes((root / "a" / "0.png").read_bytes())
    return root


def plan(source, where="auto", **changes):
    usual = {"epochs": 2, "lr": 0.1, "batch_size": 16, "image_size": SIZE, "freeze": "backbone"}
    return Plan(
        Data(str(source), cache=str(where), test=changes.pop("test", "auto")),
        **{
            "norms": ("keep",),
            "losses": ("cross_entropy", "logit_adjusted"),
            "seeds": (0, 1),
            "training": Training("timm:tf_efficientnet_lite0", **usual),
            **changes,
        },
    )


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("test", ["held_out", "per_seed"])
def test_features_are_computed_once_and_pictures_are_still_found(tmp_path, given, test):
    root, folder = photos(tmp_path / "photos"), tmp_path / "study"
    made, told = plan(root, tmp_path / "cache", test=test), []
    events = run(made, folder, workers=1, on_features=lambda *n: told.append(n))
    assert not [e for e in events if isinstance(e, Failed)]
    assert told[-1] == (90, 90)
    assert sum(given) == 90
    study = open_study(folder)
    assert study.data["shape"] == [6]
    assert any("features of small" in line for line in study.data["notes"])
    split = "pool" if test == "per_seed" else "test"
    vectors, images = study.samples(split), study.samples(split, images=True)
    whole = small_net().eval()
    with torch.no_grad():
        found = whole.features(torch.from_numpy(images.inputs[images.rows]))
    torch.testing.assert_close(torch.from_numpy(vectors.inputs[vectors.rows]), found)
    names = study.sample_names(split)
    pixels = np.asarray(Image.open(root / names[5])).transpose(2, 0, 1)
    assert next(Images(study, split).uris([5])) == data_uri(pixels)
    assert {f.code for f in collect_findings(study)} & {"CP102", "CP103"}  # of the copied file
    assert "data:image/png" in render(study).read_text()
    assert {r.label for r in study.references} == {
        "logistic regression",
        "always the largest class",
    }

    given.clear()
    again = run(made, folder, workers=1)
    assert not given
    assert all(e.kept for e in again if isinstance(e, Finished))
    assert not [e for e in again if isinstance(e, Prepared) and e.defaults]


@pytest.mark.usefixtures("nets")
def test_an_imbalance_is_laid_over_the_images_before_they_are_computed(tmp_path, given):
    root = photos(tmp_path / "photos")
    made = plan(
        root, tmp_path / "cache", test="held_out", imbalance=Imbalance("step", 4.0, largest=16)
    )
    ready = streaming.prepare(tmp_path / "study", made, None, None, None)
    assert sum(given) == len(ready.splits.train) + len(ready.splits.test) < 90
    assert len(ready.images.train) == len(ready.splits.train)


def pairs():
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (90, 3, SIZE, SIZE), dtype=torch.uint8, generator=draw)
    return TensorDataset(x, torch.arange(90) % 3)


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("kept", [True, False])
def test_images_that_were_read_anew_have_no_pictures(tmp_path, monkeypatch, kept):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    made = plan("tests.study.test_features_study:pairs", "auto" if kept else "never")
    ready = streaming.prepare(tmp_path, made, None, None, None)
    facts = keep(ready.splits, (), tmp_path, images=ready.images)
    path = find_kept(tmp_path, facts)
    vectors = read_kept(path, facts, "test")
    assert np.array_equal(vectors.inputs[vectors.rows], ready.splits.test.inputs[:])
    images = read_kept(path, facts, "test", images=True)
    if kept:
        assert np.array_equal(images.inputs[images.rows], ready.images.test.inputs[:])
    else:
        assert images is None


def test_studies_on_images_keep_the_facts_that_they_had(tmp_path):
    facts = keep(load("digits"), (), tmp_path)
    assert "images" not in facts
    path = find_kept(tmp_path, facts)
    one, other = (read_kept(path, facts, "test", images=k) for k in (False, True))
    assert np.array_equal(one.inputs[one.rows], other.inputs[other.rows])
