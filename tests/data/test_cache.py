"""Images decoded once, by whichever process is first, and never in part."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoise.data import _decode, cache, load


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(40):
        (tmp_path / "photos" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / "ab"[k % 2] / f"{k}.png")
    return tmp_path / "photos"


@pytest.fixture
def where(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_BLOCK", 5 * 3 * 16 * 16)  # five images
    monkeypatch.setattr(cache, "_SAVED_EVERY", -1.0)
    return str(tmp_path / "cache")


@pytest.fixture
def decoded(monkeypatch):
    """Collect the files that are decoded."""
    found, decode = [], _decode._decode

    def watched(path, *rest):
        found.append(path.name)
        return decode(path, *rest)

    monkeypatch.setattr(_decode, "_decode", watched)
    return found


def every(data):
    return torch.cat([data.train.inputs[:], data.test.inputs[:]])


def test_a_second_study_decodes_nothing(photos, where, decoded):
    first = every(load(photos, cache=where))
    assert len(decoded) == 40
    assert torch.equal(every(load(photos, cache=where)), first)
    assert torch.equal(every(load(photos, cache=where, image_size=16)), first)
    assert len(decoded) == 40


def test_another_size_and_a_changed_file_are_decoded(photos, where, decoded):
    load(photos, cache=where)
    load(photos, cache=where, image_size=8)
    assert len(decoded) == 80
    os.utime(photos / "a" / "0.png", (1, 1))
    load(photos, cache=where)
    assert len(decoded) == 120


def test_a_moved_folder_is_the_same(photos, where, decoded):
    load(photos, cache=where)
    photos.rename(photos.with_name("elsewhere"))
    load(photos.with_name("elsewhere"), cache=where)
    assert len(decoded) == 40


class Stopped(BaseException):
    pass


def interrupted(photos, where, monkeypatch, after):
    """Decode some blocks, and stop as a kill would: nothing is tidied up."""

    def stop(done, total):
        if done >= after:
            raise Stopped

    with pytest.raises(Stopped):
        load(photos, cache=where, on_progress=stop)


def test_a_decoding_that_was_stopped_goes_on_where_it_was(photos, where, decoded, monkeypatch):
    interrupted(photos, where, monkeypatch, 25)
    before = len(decoded)
    data = load(photos, cache=where)
    assert before == 25
    assert len(decoded) <= 45  # the last block or two are decoded again, no more
    assert torch.equal(every(data), every(load(photos, cache=f"{where} 2")))


@pytest.mark.parametrize("what", ["samples.bin", "progress.json"])
def test_what_was_damaged_meanwhile_is_decoded_again(photos, where, monkeypatch, what, tmp_path):
    interrupted(photos, where, monkeypatch, 25)
    (path,) = (tmp_path / "cache").glob(f"*/{what}")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert torch.equal(every(load(photos, cache=where)), every(load(photos, cache=f"{where} 2")))


def test_an_entry_that_is_no_longer_whole_is_filled_again(photos, where, tmp_path):
    first = every(load(photos, cache=where)).clone()
    (entry,) = (tmp_path / "cache").glob("*/entry.json")
    for damage in (
        lambda: os.truncate(entry.with_name("samples.bin"), 100),
        lambda: entry.write_text("{}"),
        lambda: entry.write_text(json.dumps([])),
    ):
        damage()
        assert torch.equal(every(load(photos, cache=where)), first)


PROGRAM = """
import sys
from counterpoise.data import _decode, cache, load
decode, number = _decode._decode, 0
def watched(*arguments):
    global number
    number += 1
    return decode(*arguments)
_decode._decode = watched
load(sys.argv[1], cache=sys.argv[2])
print(number)
"""


def test_two_processes_decode_a_folder_once(photos, where, tmp_path):
    (tmp_path / "cache").mkdir()
    command = [sys.executable, "-c", PROGRAM, str(photos), where]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(int(p.communicate(timeout=120)[0]) for p in both) == [0, 40]


def test_pruning_removes_what_was_used_longest_ago_first(where):
    old, middle, new, begun = (cache.folder(where) / cache.key(k) for k in range(4))
    for place, age in ((old, 300), (middle, 200), (new, 100)):
        cache.keep(place, torch.zeros(10, dtype=torch.uint8), {})
        stamp = time.time() - age
        os.utime(place / "entry.json", (stamp, stamp))
    begun.mkdir()
    (begun / "samples.bin").write_bytes(b"x")
    assert [e.folder for e in cache.prune(20, where)] == [old]
    assert [e.folder for e in cache.entries(where)] == [new, middle]
    assert not begun.exists()
    assert [e.folder for e in cache.prune(0, where)] == [new, middle]
    assert list(cache.folder(where).iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.uint8])
def test_a_tensor_comes_back_as_it_was(where, dtype):
    tensor = torch.randn(7, 3, 2).to(dtype)
    entry = cache.keep(cache.folder(where) / "x", tensor, {})
    assert torch.equal(entry.samples, tensor)
    assert torch.equal(cache.open_entry(entry.folder).samples, tensor)
    assert cache.keep(cache.folder(where) / "y", tensor, {}).digest == entry.digest


def folder_of(root, low):
    """Two classes of ten grey images, with the times that archives leave."""
    for k in range(20):
        path = root / "ab"[k % 2] / f"{k}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), low + k).save(path)
        os.utime(path, (315532800, 315532800))
    return root


def test_folders_that_differ_in_their_pixels_alone_are_two(tmp_path, where):
    one, other = (folder_of(tmp_path / name, low) for name, low in (("A", 0), ("B", 100)))
    assert every(load(one, cache=where)).max() < 20
    assert every(load(other, cache=where)).min() >= 100


def test_samples_that_changed_in_place_are_decoded_again(photos, where, tmp_path):
    first = every(load(photos, cache=where)).clone()
    (path,) = (tmp_path / "cache").glob("*/samples.bin")
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(every(load(photos, cache=where)), first)


def test_what_may_go_better_the_next_time_is_not_remembered(photos, where, monkeypatch):
    opened, left = _decode.open_ordinary, [100]

    def fails_once(path):
        left[0] -= 1
        if not left[0]:
            raise OSError(24, "Too many open files", str(path))
        return opened(path)

    left[0] = 43  # after the headers of 40
    monkeypatch.setattr(_decode, "open_ordinary", fails_once)
    with pytest.raises(ValueError, match="cannot be read now: Too many open files"):
        load(photos, cache=where)
    assert len(every(load(photos, cache=where))) == 40


def test_pruning_touches_entries_alone(tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "samples.bin").write_bytes(b"x")
    (tmp_path / "mine" / "results.json").write_text("{}")
    assert cache.prune(0, str(tmp_path / "mine")) == []
    assert (tmp_path / "mine" / "experiment" / "samples.bin").exists()
    assert (tmp_path / "mine" / "results.json").exists()
