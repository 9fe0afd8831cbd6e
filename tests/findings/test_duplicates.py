"""Samples that occur more than once, or nearly, as a real study keeps them."""

import io
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from tests.study.small import plan, run

from counterpoise.data import Split, Splits
from counterpoise.findings import _duplicates, _looks
from counterpoise.study import Data, Training, open_study


@pytest.fixture
def study(tmp_path):
    """Make a study of splits, of which nothing is trained."""

    def made(train, test, *, per_seed=False):
        parts = [
            Split(
                torch.as_tensor(inputs),
                torch.arange(len(inputs)) % 2,
                groups=None if groups is None else torch.tensor(groups),
            )
            for inputs, groups in (train, test)
        ]
        data = Splits("toy", *parts, ("cat", "dog"), "made up", held_out=True)
        small = plan(
            losses=("cross_entropy",), seeds=(0,), training=Training("mlp", epochs=1, lr=0.1)
        )
        asked = replace(small, data=Data("toy", test="per_seed" if per_seed else "held_out"))
        run(asked, tmp_path / "study", data={tmp_path / "study": data})
        return open_study(tmp_path / "study")

    return made


@pytest.fixture(scope="module")
def photos():
    """Cuts out of two photographs, and the same ones saved smaller and as JPEG."""
    rng, cuts, again = np.random.default_rng(0), [], []
    for photo in load_sample_images().images:
        for _ in range(60):
            side = rng.integers(100, 300)
            top, left = (rng.integers(0, n - side) for n in photo.shape[:2])
            cut = Image.fromarray(photo[top : top + side, left : left + side])
            buffer = io.BytesIO()
            cut.resize((int(0.8 * side),) * 2).save(buffer, "JPEG", quality=60)
            for found, image in ((cuts, cut), (again, Image.open(buffer))):
                found.append(np.asarray(image.resize((32, 32))).transpose(2, 0, 1))
    return np.array(cuts), np.array(again)


def test_images_saved_anew_are_found_and_others_are_not(photos):
    cuts, again = photos
    pairs = _looks.near_pairs(_looks.small(np.concatenate([cuts, again])))
    own = pairs[:, 1] - pairs[:, 0] == len(cuts)
    assert own.sum() >= 0.9 * len(cuts)
    assert (~own).sum() == 0


def test_the_hash_is_pillows_of_images_whose_cells_are_whole():
    """Of 16 x 18 pixels each cell is 2 x 2, and Pillow's box filter averages as well."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 16, 18)).astype(np.uint8)
    for image, found in zip(images, _looks.hashes(images), strict=True):
        cells = np.asarray(
            Image.fromarray(image.astype(np.float32)).resize((9, 8), Image.Resampling.BOX)
        )
        bits = "".join("1" if b else "0" for b in (cells[:, 1:] > cells[:, :-1]).ravel())
        assert np.array(found).tobytes().hex() == f"{int(bits, 2):016x}"


def test_twenty_thousand_images_are_compared_in_little_memory():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20_000, 32, 32)).astype(np.uint8)
    images[15_000:15_100] = images[:100] // 2 + 7
    images[16_000:] = 9  # and 4,000 that show nothing
    tracemalloc.start()
    pairs = _looks.near_pairs(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs.tolist() == [[k, 15_000 + k] for k in range(100)]
    assert peak < 300 * 2**20  # a matrix of bits would take 50 MB, one of distances 400


def test_near_copies_across_splits_are_a_finding_with_a_remedy(photos, study):
    cuts, again = photos
    (found,) = _duplicates.nearly_equal(study((cuts[:80], None), (again[60:100], None)))
    near = found.evidence["near"]
    assert 17 <= near <= 20
    assert found.text.startswith(
        f"{near} of 40 test images look nearly the same as training images (test sample 0 is like "
        "training sample 60; "
    )
    assert "--group" in found.text


def test_where_seeds_draw_their_tests_all_pairs_count_but_those_of_a_group(photos, study):
    cuts, again = photos
    both = np.concatenate([cuts[:40], again[:40]])
    some = study((both[:60], None), (both[60:], None), per_seed=True)
    (found,) = _duplicates.nearly_equal(some)
    assert found.evidence["samples"] == 80
    assert "Where a seed tests on one of them and trains on the other" in found.text


def test_copies_in_one_group_are_on_one_side_and_no_finding(photos, study):
    cuts, again = photos
    each = np.stack([cuts[:40], again[:40], cuts[:40]], 1).reshape(120, *cuts.shape[1:])
    groups = [k // 3 for k in range(120)]
    some = study((each[:90], groups[:90]), (each[90:], groups[90:]), per_seed=True)
    assert _duplicates.across_splits(some) == []
    assert _duplicates.nearly_equal(some) == []


def test_equal_rows_of_a_pool_are_counted(study):
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    rows[[7, 50]] = rows[3]
    some = study((rows[:40], None), (rows[40:], None), per_seed=True)
    (found,) = _duplicates.across_splits(some)
    assert found.text.startswith("2 of 60 samples are exact copies of another one (")
    assert _duplicates.within_training(some) == []
    assert _duplicates.nearly_equal(some) == []
