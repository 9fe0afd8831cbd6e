"""Folders as people have them: splits by other names, tables beside images, what is no image."""

import unicodedata
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoise.data import _layout, load, read_unseen
from counterpoise.data._decode import Form


@pytest.fixture
def write(tmp_path):
    """Write images of random pixels, and return the folder that they are in."""
    rng = np.random.default_rng(0)

    def write(*names, ending=".png", format_=None):
        for name in names:
            path = tmp_path / f"{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255, (9, 9, 3), np.uint8)
            Image.fromarray(pixels).save(path, format=format_)
        return tmp_path

    return write


def several(*folders, each=6):
    return [f"{folder}/{k}" for folder in folders for k in range(each)]


def kinds(split, data):
    return [data.class_names[k] for k in split.targets]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("train", "val", "test"),
        ("training_set", "dev", "Test Set"),
        ("TRAIN", "valid", "holdout"),
    ],
)
def test_each_split_is_used_for_what_it_is(write, train, validation, test):
    root = write(*several(f"{train}/a", f"{train}/b"))
    write(*several(f"{validation}/a", f"{validation}/b", each=2))
    write(*several(f"{test}/a", f"{test}/b", each=3))
    data = load(root)
    assert data.class_names == ("a", "b")
    assert {k: len(s) for k, s in data.named().items()} == {
        "train": 12,
        "validation": 4,
        "test": 6,
    }
    for split, folder in (("train", train), ("validation", validation), ("test", test)):
        assert all(name.startswith(f"{folder}/") for name in data.named()[split].names)


def test_validation_alone_is_chosen_on_and_may_be_tested_on(write):
    root = write(*several("train/a", "train/b", "val/a", "val/b"))
    data = load(root)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 12, 2)
    assert any("--test val" in note for note in data.notes)
    data = load(root, test="val")
    assert (len(data.train), data.validation, len(data.test)) == (12, None, 12)


def test_unlabelled_test_images_are_refused(write):
    root = write(*several("train/a", "train/b", "test"))
    with pytest.raises(ValueError, match=r"test must hold a folder per class.*give .*train alone"):
        load(root)


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        (("train/a", "train/b", "bus", "car"), "looks like a split, beside bus, car"),
        (("train/a", "training/a"), "train, training, which mean the same"),
        (("val/a", "test/a"), "must hold a folder train beside val, test"),
    ],
)
def test_layouts_of_two_meanings_are_refused(write, folders, why):
    with pytest.raises(ValueError, match=why):
        load(write(*several(*folders)))


def test_folders_that_repeat_the_same_names_are_no_classes_unasked(write):
    root = write(*several("site 1/cat", "site 1/dog", "site 2/cat", "site 2/dog"))
    with pytest.raises(ValueError, match=r"each hold the folders cat, dog: --target parent"):
        load(root)
    assert load(root, target="parent").class_names == ("cat", "dog")
    assert load(root, target="top").class_names == ("site 1", "site 2")


def test_names_are_compared_in_one_normal_form(write):
    """macOS writes é as e and an accent: two folders, one class."""
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = write(*several(f"train/{apart}", "train/tea", f"test/{composed}", "test/tea"))
    data = load(root)
    assert data.class_names == (composed, "tea")
    assert len(data.test) == 12


def test_what_systems_leave_behind_is_skipped_in_silence(write):
    root = write(*several("a", "b", "@eaDir", "__MACOSX", ".ipynb_checkpoints"))
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (root / "a" / name).write_bytes(b"x")
        (root / name).write_bytes(b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(root)
    assert data.class_names == ("a", "b")
    assert len(data.train) + len(data.test) == 12


def test_what_is_not_read_is_counted_by_its_ending(write):
    root = write(*several("a", "b"))
    for k in range(5):
        (root / "a" / f"{k}.heic").write_bytes(b"x")
    (root / "notes.txt").write_bytes(b"x")
    write("loose")
    with (
        pytest.warns(UserWarning, match=r"6 files in .* were not read: 5 \.heic, 1 \.txt"),
        pytest.warns(UserWarning, match="outside of the class folders, were not read: 1"),
    ):
        load(root)


def test_what_lies_beside_the_folders_of_splits_is_counted(write):
    root = write(*several("train/a", "train/b", "test/a", "test/b"))
    (root / "LICENSE").write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"1 file in .* was not read: 1 LICENSE"):
        load(root)


@pytest.mark.parametrize(
    ("ending", "format_"), [(".jfif", "JPEG"), (".ppm", None), (".pgm", "PPM"), (".avif", "AVIF")]
)
def test_endings_that_pillow_reads(write, ending, format_):
    data = load(write(*several("a", "b"), ending=ending, format_=format_))
    assert len(data.train) + len(data.test) == 12


def test_many_class_folders_take_no_square_of_their_number(write, monkeypatch):
    """What is asked for each class is counted, not timed."""
    root = write(*several(*(f"class {k}" for k in range(300)), each=3))
    calls = []
    monkeypatch.setattr(_layout, "nfc", lambda name: calls.append(name) or name)
    assert load(root).num_classes == 300
    assert len(calls) < 10 * 300 * 3


@pytest.mark.parametrize(
    ("resize", "corner", "middle"), [("crop", 255, 255), ("squash", 0, 255), ("pad", 0, 255)]
)
def test_ways_to_resize(tmp_path, resize, corner, middle):
    """A white square in the middle of a black image three times as wide."""
    picture = np.zeros((20, 60), np.uint8)
    picture[:, 20:40] = 255
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.fromarray(picture).save(tmp_path / name / f"{k}.png")
    image = load(tmp_path, image_size=(12, 12), resize=resize).train.inputs[0, 0]
    assert image.shape == (12, 12)
    assert abs(int(image[6, 1]) - corner) < 10
    assert image[6, 6] == middle
    assert image[0, 6] == (0 if resize == "pad" else 255)
    assert load(tmp_path, image_size=(5, 15)).train.inputs.shape[2:] == (5, 15)


@pytest.mark.parametrize("between", ["auto", "bilinear", "bicubic"])
def test_pixels_are_those_of_pillows_filter_and_of_new_files_too(write, between):
    root = write(*(f"{name}/{k}" for name in "ab" for k in range(3)))
    data = load(root, image_size=5, resize="squash", interpolation=between)
    files = [root / name for name in data.test.names]
    new = read_unseen(files, data.reading)
    wanted = Image.Resampling.BICUBIC if between == "bicubic" else Image.Resampling.BILINEAR
    pixels = [np.asarray(Image.open(f).resize((5, 5), wanted)) for f in files]
    expected = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    assert torch.equal(data.test.inputs[:], expected)
    assert torch.equal(torch.cat([batch.inputs for batch in new.batches()]), expected)
    assert data.reading.get("interpolation") == ("bicubic" if between == "bicubic" else None)
    plain = load(root, image_size=5, resize="squash").test.inputs.entry
    assert (data.test.inputs.entry.folder == plain.folder) == (between != "bicubic")


def test_entries_of_the_cache_keep_the_names_that_they_had():
    known = "Form(shape=(3, 8, 8), resize='crop', low=0.0, high=65535.0)"
    assert repr(Form((3, 8, 8), interpolation="bicubic")) == known


def labels(root, lines, name="labels.csv"):
    (root / name).write_text("\n".join(lines))


def test_a_table_beside_the_images_says_classes_splits_and_groups(write):
    root = write(*(f"images/{k}" for k in range(20)))
    rows = [
        f"{k}.png,{'ab'[k % 2]},{'Training' if k < 14 else 'test'},p{k // 2}" for k in range(20)
    ]
    labels(root, ["file_name,label,split,group", *rows], "metadata.csv")
    data = load(root)
    assert data.class_names == ("a", "b")
    assert (len(data.train), len(data.test)) == (14, 6)
    assert data.train.names[:2] == ("images/0.png", "images/1.png")
    assert kinds(data.train, data)[:3] == ["a", "b", "a"]
    assert data.train.groups.tolist() == [k // 2 for k in range(14)]


def test_a_table_may_leave_out_the_ending_of_files(write):
    root = write(*(f"{k}" for k in range(12)))
    labels(root, ["id,class", *(f"{k},{'ab'[k % 2]}" for k in range(12))])
    assert len(load(root).train) == 10


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["file,label", "0.png,a", "gone.png,b"], r"1 name one that is not there: gone\.png"),
        (["file,label", "0.png,a", "0.png,b"], r"named twice: 0\.png"),
        (["file,label", "0.png,a", "1.png, "], "1 have none: row 3"),
        (["name,label", "0.png,a"], "must have a column of the files, such as file_name"),
        (["file,label,split", "0.png,a,train", "1.png,b,later"], "says 'later'"),
    ],
)
def test_tables_that_do_not_fit_the_images_are_refused(write, lines, why):
    root = write("0", "1")
    labels(root, lines)
    with pytest.raises(ValueError, match=why):
        load(root)


def test_images_that_no_row_names_are_counted(write):
    root = write(*(f"{k}" for k in range(14)))
    labels(root, ["file,label", *(f"{k}.png,{'ab'[k % 2]}" for k in range(12))])
    with pytest.warns(UserWarning, match=r"that labels\.csv does not name were not read: 2"):
        data = load(root)
    assert torch.bincount(torch.cat([data.train.targets, data.test.targets])).tolist() == [6, 6]


def test_an_image_that_is_listed_by_two_names_is_refused(write):
    root = write("0", "1")
    labels(root, ["file,label", "0.png,a", "0,b"])
    with pytest.raises(ValueError, match=r"1 are named twice: 0\.png"):
        load(root)


def test_groups_are_compared_without_blanks_and_gaps_stand_alone(write):
    root = write(*(f"{k}" for k in range(24)))
    groups = ["p1", " p1", "p1 ", "", *(f"q{k}" for k in range(20))]
    labels(
        root, ["file,label,group", *(f"{k}.png,{'ab'[k % 2]},{g}" for k, g in enumerate(groups))]
    )
    data = load(root)
    by_name = {
        name: group
        for s in (data.train, data.test)
        for name, group in zip(s.names, s.groups.tolist(), strict=True)
    }
    assert by_name["0.png"] == by_name["1.png"] == by_name["2.png"]
    assert len(set(by_name.values())) == 22


def test_classes_that_differ_in_case_alone_are_pointed_out(write):
    root = write(*several("Cat", "cat", "dog"))
    assert "'Cat' and 'cat'" in load(root).cautions[0]


@pytest.mark.parametrize("setting", [{"drop": ("x",)}, {"split": "time:x"}, {"keep": ("x",)}])
def test_settings_of_tables_are_refused_for_folders(write, setting):
    with pytest.raises(ValueError, match=r"is not for a folder of images.*leave it out"):
        load(write(*several("a", "b")), **setting)
