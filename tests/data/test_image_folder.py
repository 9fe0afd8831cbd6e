"""Real image files in real folders."""

import os
import re
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from counterpoise.data import _decode, cache, count_classes, load

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
    with pytest.warns(UserWarning, match="1 file in .* not read: 1 .txt"):
        data = load(tmp_path, image_size=8)
    assert data.class_names == ("grün 绿", "rot")
    assert data.train.inputs.shape == (14, 3, 8, 8)
    assert data.test.inputs.shape == (4, 3, 8, 8)
    assert data.train.inputs.dtype == torch.uint8
    for split in (data.train, data.test):
        for image, k in zip(split.inputs, split.targets, strict=True):
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
    save(root / "b" / "3.tif", float("nan"), "F")
    with pytest.warns(UserWarning, match=r"4 of 11 images in .* cannot be read: a/0.png .* 1 more"):
        data = load(root, image_size=4)
    assert count_classes(torch.cat([data.train.targets, data.test.targets])).tolist() == [4, 3]


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
    assert count_classes(data.train.targets).tolist() == [4, 2]
    assert count_classes(data.test.targets).tolist() == [1, 3]
    assert data.test.inputs[:, 0, 0, 0].tolist() == [0, 0, 10, 20]


def test_what_is_odd_about_given_parts_is_told(tmp_path):
    classes(tmp_path / "train", 4, 2, 2)
    classes(tmp_path / "test", 1, 1)
    (tmp_path / "annotations").mkdir()
    with (
        pytest.warns(UserWarning, match="also holds annotations: not read"),
        pytest.warns(UserWarning, match="holds nothing of 'c'"),
    ):
        load(tmp_path)
    save(tmp_path / "test" / "d" / "0.png")
    with (
        pytest.warns(UserWarning, match="not read"),
        pytest.raises(ValueError, match="also holds 'd'; make the folders' names agree"),
    ):
        load(tmp_path)


def test_an_empty_class_folder_is_left_out_with_a_line(tmp_path):
    root = classes(tmp_path, 4, 0, 5, 0)
    (root / "d" / "notes.txt").write_text("no image")
    with pytest.warns(UserWarning, match="not read|left out") as told:
        data = load(root, image_size=4)
    assert [str(w.message) for w in told] == [
        f"1 file in {root} does not end like an image and was not read: 1 .txt",
        f"2 of the 4 classes in {root} were left out, as no image is in their folders: 'b', 'd'",
    ]
    assert data.class_names == ("a", "c")
    assert data.num_classes == 2
    targets = torch.cat([data.train.targets, data.test.targets])
    assert count_classes(targets).tolist() == [4, 5]
    grey = torch.cat([data.train.inputs, data.test.inputs])[:, 0, 0, 0]
    assert sorted(grey[targets == 1].tolist()) == [0, 10, 20, 30, 40]


def test_a_class_that_is_empty_in_both_parts_is_left_out(tmp_path):
    classes(tmp_path / "train", 4, 0, 2)
    classes(tmp_path / "test", 1, 0, 3)
    with pytest.warns(UserWarning, match=r"1 of the 3 classes .*: 'b'$"):
        data = load(tmp_path, image_size=4)
    assert data.class_names == ("a", "c")
    assert count_classes(data.test.targets).tolist() == [1, 3]
    save(tmp_path / "test" / "b" / "0.png")  # now there is something that no net can learn
    with pytest.raises(ValueError, match="'b'"):
        load(tmp_path, image_size=4)


def test_one_class_that_is_left_is_none_to_compare(tmp_path):
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match=r"two classes at least, got 1 \('a'\)"),
    ):
        load(classes(tmp_path, 4, 0))


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
    with pytest.raises(ValueError, match=r"image_size must be 0 or more, .* got -1"):
        load(inner, image_size=-1)


def png_header(path: Path, width: int, height: int) -> None:
    """A PNG that says how large it is, and then nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b""))
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("side", [10_000, 13_000, 20_000])
def test_images_above_pillows_limit_are_left_out_with_the_reason(tmp_path, side):
    """Pillow warns between its limit and twice of it, and refuses above; the settings stay."""
    root = classes(tmp_path, 4, 4)
    png_header(root / "a" / "9.png", side, side)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.warns(UserWarning, match="cannot be read") as told:
        data = load(root, image_size=4)
    assert [str(w.message) for w in told] == [
        f"1 of 9 images in {root} cannot be read: a/9.png ({side} x {side} pixels, above Pillow's "
        f"limit of {limit}; scale it down); they were left out"
    ]
    assert len(data.train) + len(data.test) == 8
    assert limit == Image.MAX_IMAGE_PIXELS


def test_no_more_than_two_large_images_are_decoded_at_once(tmp_path, monkeypatch):
    root = classes(tmp_path / "images", 9, 9)
    monkeypatch.setattr(_decode, "_LARGE", 100)  # and all of these have 108 pixels
    lock, now, most, plain = threading.Lock(), [0], [0], _decode._plain
    gate = threading.Barrier(2)  # two at a time there are

    def watched(image, form):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait(10)
        result = plain(image, form)
        with lock:
            now[0] -= 1
        return result

    monkeypatch.setattr(_decode, "_plain", watched)
    data = load(root, image_size=4)
    assert len(data.train) + len(data.test) == 18
    assert most == [2]
    monkeypatch.undo()
    again = load(root, image_size=4, cache=str(tmp_path / "cache"))
    assert torch.equal(data.train.inputs[:], again.train.inputs[:])


def test_an_image_that_needs_no_change_is_not_copied():
    """Each copy of a photograph of 60 megapixels takes 240 MB."""
    for mode in ("L", "RGB"):
        image = Image.new(mode, (2, 2))
        assert _decode._plain(image, _decode.Form((1, 2, 2))) is image


def test_text_that_unpacks_to_much_more_is_left_to_pillow(tmp_path):
    root = classes(tmp_path, 4, 4)
    info = PngImagePlugin.PngInfo()
    info.add_text("bomb", "0" * 50_000_000, zip=True)
    Image.new("L", (9, 9)).save(root / "a" / "9.png", pnginfo=info)
    with pytest.warns(UserWarning, match=r"a/9.png \(Decompressed data too large"):
        load(root, image_size=4)


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    root = classes(tmp_path, 4, 4)
    frames = [Image.new("L", (9, 9), k) for k in (200, 100, 50)]
    frames[0].save(root / "a" / "9.gif", save_all=True, append_images=frames[1:])
    data = load(root, image_size=4)
    every = torch.cat([data.train.inputs, data.test.inputs])
    assert every.max() == 200
    assert len(every) == 9


def test_pipes_devices_and_broken_links_are_left_out_and_told(tmp_path):
    root = classes(tmp_path, 4, 4)
    os.mkfifo(root / "a" / "7.png")
    (root / "a" / "8.png").symlink_to("/dev/zero")
    (root / "a" / "9.png").symlink_to("nowhere")
    with pytest.warns(UserWarning, match="cannot be read") as told:
        data = load(root, image_size=4)
    why = "a/7.png (not an ordinary file), a/8.png (not an ordinary file), a/9.png (No such file"
    assert why in str(told[0].message)
    assert len(data.train) + len(data.test) == 8


def test_links_to_single_images_are_followed(tmp_path):
    pool = classes(tmp_path / "pool", 4, 4)
    for name in "ab":
        (tmp_path / "mine" / name).mkdir(parents=True)
        for image in (pool / name).iterdir():
            (tmp_path / "mine" / name / image.name).symlink_to(image)
    data = load(tmp_path / "mine", image_size=4)
    assert len(data.train) + len(data.test) == 8


@pytest.mark.parametrize("target", ["/", "."])
def test_a_class_that_is_a_link_out_of_the_folder_is_refused(tmp_path, target):
    root = classes(tmp_path, 4, 4)
    (root / "c").symlink_to(target)
    message = re.escape(f"the folders of {root} must lie in it, but c is a link to {target}; copy")
    with pytest.raises(ValueError, match=message):
        load(root)


def test_a_class_that_is_a_link_within_the_folder_is_read(tmp_path):
    classes(tmp_path / "train", 4, 4)
    (tmp_path / "test").symlink_to("train")
    assert len(load(tmp_path, image_size=4).test) == 8


def test_links_to_folders_below_a_class_are_not_followed(tmp_path):
    root = classes(tmp_path, 4, 4)
    (root / "a" / "more").symlink_to("/")
    (root / "b" / "around").symlink_to("..")
    with pytest.warns(UserWarning, match="links to folders are not followed in .*more.*; copy"):
        data = load(root, image_size=4)
    assert len(data.train) + len(data.test) == 8


def test_folders_may_be_nested_deeply(tmp_path):
    root = classes(tmp_path, 4, 4)
    folders = [root / "a"]
    while len(folders) <= 1200 and len(str(folders[-1])) < 4000:
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    (root / "a" / "0.png").rename(folders[-1] / "0.png")
    try:
        data = load(root, image_size=4)
    finally:  # pytest would clean up by recursion
        (folders[-1] / "0.png").unlink()
        for folder in reversed(folders[1:]):
            folder.rmdir()
    assert len(data.train) + len(data.test) == 8


def test_file_names_need_not_be_utf8(tmp_path):
    root = classes(tmp_path, 4, 4)
    (root / "a" / "0.png").rename(os.fsdecode(bytes(root) + b"/a/caf\xe9.png"))
    with open(bytes(root) + b"/a/n\xe9.png", "wb") as file:
        file.write(b"hello")
    with pytest.warns(UserWarning, match=r"cannot be read: a/n\\udce9.png"):
        data = load(root, image_size=4)
    assert len(data.train) + len(data.test) == 8


def test_more_images_than_the_disk_holds_are_refused_before_they_are_decoded(tmp_path):
    root = classes(tmp_path / "images", 4, 4)
    with pytest.raises(ValueError, match=r"needs 7,450\.\d GiB.*--set data.cache names"):
        load(root, image_size=1_000_000, cache=str(tmp_path / "cache"))
    assert cache.entries(str(tmp_path / "cache")) == []


def test_wide_grey_of_a_folder_is_scaled_by_one_rule_which_is_said(tmp_path):
    """10 bits, 12 bits or values around 30,000 alike: the range over all becomes 0 to 255."""
    for name, low in (("a", 29_000), ("b", 30_000)):
        (tmp_path / name).mkdir()
        for k in range(3):
            values = np.linspace(low, low + 1_000, 81).reshape(9, 9).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / name / f"{k}.png")
    data = load(tmp_path, image_size=9)
    found = torch.cat([data.train.inputs, data.test.inputs])
    by_class = [found[torch.cat([data.train.targets, data.test.targets]) == k] for k in (0, 1)]
    assert [(int(x.min()), int(x.max())) for x in by_class] == [(0, 128), (128, 255)]
    assert len(found.unique()) > 150
    assert any("values from 29000 to 31000" in note for note in data.notes)


def test_a_sample_is_named_by_its_file(tmp_path):
    classes(tmp_path / "train", 3, 4)
    classes(tmp_path / "test", 2, 2)
    (tmp_path / "train" / "a" / "1.png").write_bytes(b"broken")
    with pytest.warns(UserWarning, match="1 of 11 images"):
        data = load(tmp_path, image_size=4)
    for split, folder in ((data.train, "train"), (data.test, "test")):
        for name, image, k in zip(split.names, split.inputs, split.targets, strict=True):
            assert name.startswith(f"{folder}/{'ab'[k]}/")
            assert (image == 10 * int(Path(name).stem)).all()
    assert "train/a/1.png" not in data.train.names
    assert len(data.train.names) == 6
