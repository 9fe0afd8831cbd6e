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
    for name in ("old", "middle", "new"):
        cache.keep(cache.folder(where) / name, torch.zeros(10, dtype=torch.uint8), {})
    for name, age in (("old", 300), ("middle", 200), ("new", 100)):
        stamp = time.time() - age
        os.utime(cache.folder(where) / name / "entry.json", (stamp, stamp))
    begun = cache.folder(where) / "begun"
    begun.mkdir()
    (begun / "samples.bin").write_bytes(b"x")
    assert [e.folder.name for e in cache.prune(20, where)] == ["old"]
    assert [e.folder.name for e in cache.entries(where)] == ["new", "middle"]
    assert not begun.exists()
    assert [e.folder.name for e in cache.prune(0, where)] == ["new", "middle"]
    assert list(cache.folder(where).iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.uint8])
def test_a_tensor_comes_back_as_it_was(where, dtype):
    tensor = torch.randn(7, 3, 2).to(dtype)
    entry = cache.keep(cache.folder(where) / "x", tensor, {})
    assert torch.equal(entry.samples, tensor)
    assert torch.equal(cache.open_entry(entry.folder).samples, tensor)
    assert cache.keep(cache.folder(where) / "y", tensor, {}).digest == entry.digest
