"""Real image files in real folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoise.data import count_classes, load

SUFFIXES = ["jpg", "JPEG", "png", "bmp", "gif", "webp", "tif", "TIFF"]
COLOURS = {"rot": (250, 10, 10), "grün 绿": (10, 250, 10)}


def save(path: Path, colour: object = 128, mode: str = "RGB", size: tuple[int, int] = (12, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size, colour)
    image.save(path)
    return path


def classes(root: Path, *counts: int, mode: str = "L") -> Path:
    """A folder with classes a, b, ... of so many images."""
    for name, n in zip("abcdef", counts, strict=False):
        (root / name).mkdir(parents=True)
        for k in range(n):
            save(root / name / f"{k}.png", 10 * k, mode)
    return root


def test_every_format_and_odd_names(tmp_path):
    for name, colour in COLOURS.items():
        for k, suffix in enumerate(SUFFIXES):
            save(tmp_path / name / f"{k} ü#%.{suffix}", colour)
        save(tmp_path / name / "deeper" / "x.png", colour)
    save(tmp_path / "rot" / ".hidden.png")
    save(tmp_path / "__MACOSX" / "rot" / "._0.png")
    save(tmp_path / ".git" / "x.png")
    (tmp_path / "rot" / "._0.jpg").write_bytes(b"\0")
    (tmp_path / "rot" / "Thumbs.db").write_bytes(b"\0")
    (tmp_path / "notes.txt").write_text("no class")
    data = load(tmp_path, image_size=8)
    assert data.class_names == ("grün 绿", "rot")
    assert data.train.inputs.shape == (14, 3, 8, 8)
    assert data.test.inputs.shape == (4, 3, 8, 8)
    assert data.train.inputs.dtype == torch.uint8
    for part in (data.train, data.test):
        for image, k in zip(part.inputs, part.targets, strict=True):
            wanted = torch.tensor(COLOURS[data.class_names[k]], dtype=torch.uint8)
            assert (image.int() - wanted[:, None, None].int()).abs().max() < 12  # JPEG, GIF, WebP


def test_the_middle_is_cut_and_the_aspect_kept(tmp_path):
    """Three squares side by side: the middle one is left, whole."""
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = (np.indices((20, 20)).sum(0) % 256)[..., None]
    picture[:, :20] = picture[:, 40:] = 255
    for name in "ab":
        for k in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / name / f"{k}.png")
    found = load(tmp_path, image_size=20).train.inputs[0].permute(1, 2, 0)
    assert torch.equal(found, torch.from_numpy(picture[:, 20:40]))


def test_images_are_turned_upright(tmp_path):
    """Orientation 6: the camera was turned, the left edge of what is stored belongs on top."""
    stored = np.zeros((16, 16), np.uint8)
    stored[:, :8] = 240
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        for k in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(stored).save(tmp_path / name / f"{k}.jpg", exif=exif, quality=95)
    found = load(tmp_path, image_size=16).train.inputs[0, 0]
    assert found[:7].min() > 200
    assert found[9:].max() < 40


def test_grey_stays_grey_and_one_in_colour_makes_all_so(tmp_path):
    grey = load(classes(tmp_path / "grey", 3, 3), image_size=4)
    assert grey.train.inputs.shape == (4, 1, 4, 4)
    mixed = classes(tmp_path / "mixed", 3, 3)
    save(mixed / "b" / "9.png", (9, 8, 7))
    data = load(mixed, image_size=4)
    assert data.train.inputs.shape == (5, 3, 4, 4)
    every = torch.cat([data.train.inputs, data.test.inputs])[:, :, 0, 0].tolist()
    assert sorted(every) == sorted([[0] * 3, [10] * 3, [20] * 3] * 2 + [[9, 8, 7]])


@pytest.mark.parametrize(
    ("mode", "colour", "wanted"),
    [
        ("1", 1, [255]),
        ("LA", (100, 255), [100]),
        ("LA", (100, 0), [255]),
        ("RGBA", (1, 2, 3, 255), [1, 2, 3]),
        ("RGBA", (1, 2, 3, 0), [255, 255, 255]),
        ("I;16", 0x64FF, [0x64]),
        ("P", 0, [0, 0, 0]),
    ],
)
def test_modes_become_grey_or_colour(tmp_path, mode, colour, wanted):
    for name in "ab":
        for k in range(3):
            save(tmp_path / name / f"{k}.png", colour, mode)
    assert load(tmp_path, image_size=2).train.inputs[0, :, 0, 0].tolist() == wanted


def test_broken_images_are_named_counted_and_left_out(tmp_path):
    root = classes(tmp_path, 5, 5)
    whole = (root / "a" / "0.png").read_bytes()
    (root / "a" / "0.png").write_bytes(whole[: len(whole) // 2])
    (root / "b" / "1.png").write_bytes(b"")
    (root / "b" / "2.png").write_text("hello")
    save(root / "b" / "3.tif", 0.5, "F")
    with pytest.warns(UserWarning, match=r"4 of 11 images in .* cannot be read: a/0.png .* 1 more"):
        data = load(root, image_size=4)
    assert count_classes(torch.cat([data.train.targets, data.test.targets])) == [4, 3]


def test_nothing_but_broken_images_is_an_error(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(3):
            (tmp_path / name / f"{k}.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    with pytest.raises(ValueError, match=r"6 of 6 images in .* cannot be read"):
        load(tmp_path)


def test_a_class_that_broken_images_made_too_small_is_named(tmp_path):
    root = classes(tmp_path, 4, 3)
    (root / "b" / "0.png").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="1 of 7"),
        pytest.raises(ValueError, match=r"3 samples at least, .* but 'b' has 2; add samples"),
    ):
        load(root)


def test_given_parts_are_kept(tmp_path):
    classes(tmp_path / "train", 4, 2)
    classes(tmp_path / "Test", 1, 3)
    data = load(tmp_path, image_size=4)
    assert count_classes(data.train.targets) == [4, 2]
    assert count_classes(data.test.targets) == [1, 3]
    assert data.test.inputs[:, 0, 0, 0].tolist() == [0, 0, 10, 20]


def test_what_is_odd_about_given_parts_is_told(tmp_path):
    classes(tmp_path / "train", 4, 2)
    with pytest.raises(ValueError, match="a folder test beside train, but holds train"):
        load(tmp_path)
    classes(tmp_path / "test", 1)
    classes(tmp_path / "val", 1)
    with (
        pytest.warns(UserWarning, match="also holds val: not read"),
        pytest.warns(UserWarning, match="holds nothing of 'b'"),
    ):
        load(tmp_path)
    save(tmp_path / "test" / "c" / "0.png")
    with (
        pytest.warns(UserWarning, match="not read"),
        pytest.raises(ValueError, match="also holds 'c'; make the folders' names agree"),
    ):
        load(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        for k in range(3):
            save(tmp_path / name / f"{k}.png")
    assert load(tmp_path).class_names == ("bus", "train")


def test_wrong_places_are_explained(tmp_path):
    with pytest.raises(ValueError, match="a folder per class with images"):
        load(tmp_path)
    inner = classes(tmp_path / "outer" / "inner", 3, 3)
    with pytest.raises(ValueError, match=r"two classes at least, got 1 \('inner'\)"):
        load(inner.parent)
    (inner / "c").mkdir()
    with pytest.raises(ValueError, match="'c' has 0"):
        load(inner)
    with pytest.raises(ValueError, match="image_size must be 1 or more, got 0"):
        load(inner, image_size=0)
