"""Files of arrays as NumPy writes them."""

import os
import re
import zipfile

import numpy as np
import pytest
import torch

from counterpoise.data import _npz, count_classes, fingerprint, load, memory

RNG = np.random.default_rng(0)
LABELS = np.array([3, 10, 3, 10, 3, 10, -1, -1, -1])


@pytest.mark.parametrize(
    "names", [("x", "y"), ("X", "Y"), ("inputs", "targets"), ("data", "labels")]
)
def test_every_name_and_labels_of_any_number(tmp_path, names):
    x = RNG.normal(size=(9, 4))
    np.savez(tmp_path / "odd ö.npz", **dict(zip(names, (x, LABELS), strict=True)))
    data = load(tmp_path / "odd ö.npz")
    assert (data.name, data.class_names) == ("odd ö", ("-1", "3", "10"))
    assert data.train.inputs.dtype == torch.float32
    assert count_classes(data.test.targets).tolist() == [1, 1, 1]
    rows = {
        tuple(row): data.class_names[k]
        for p in (data.train, data.test)
        for row, k in zip(p.inputs.tolist(), p.targets, strict=True)
    }
    assert rows == {
        tuple(row): str(k) for row, k in zip(x.astype(np.float32).tolist(), LABELS, strict=True)
    }


@pytest.mark.parametrize(
    ("shape", "dtype", "wanted", "found"),
    [
        ((9, 8, 8), np.uint8, (1, 8, 8), torch.uint8),
        ((9, 8, 6, 3), np.uint8, (3, 8, 6), torch.uint8),
        ((9, 3, 8, 6), np.uint8, (3, 8, 6), torch.uint8),
        ((9, 3, 8, 3), np.float16, (3, 8, 3), torch.float32),
        ((9, 5), np.uint8, (5,), torch.float32),
        ((9,), np.int32, (1,), torch.float32),
        ((9, 2), bool, (2,), torch.float32),
    ],
)
def test_shapes_and_dtypes(tmp_path, shape, dtype, wanted, found):
    np.savez(tmp_path / "a.npz", x=np.ones(shape, dtype), y=LABELS)
    inputs = load(tmp_path / "a.npz").train.inputs
    assert (tuple(inputs.shape[1:]), inputs.dtype) == (wanted, found)
    assert inputs.is_contiguous()


def test_channels_that_come_last_are_moved_not_reshaped(tmp_path):
    x = RNG.integers(0, 255, (9, 5, 6, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=LABELS, x_test=x, y_test=LABELS)
    found = load(tmp_path / "a.npz").test.inputs
    assert torch.equal(found.permute(0, 2, 3, 1), torch.from_numpy(x))


@pytest.mark.parametrize("order", ["{}_{}", "{1}_{0}"])
def test_given_parts_and_text_labels(tmp_path, order):
    labels = np.array([["b"], ["ä"], ["c"]])
    arrays = {
        order.format("images", "train"): RNG.normal(size=(6, 2)),
        order.format("labels", "train"): np.concatenate([labels, labels]),
        order.format("images", "test"): RNG.normal(size=(2, 2)),
        order.format("labels", "test"): labels[1:],
        "images_val": np.zeros(3),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    with (
        pytest.warns(UserWarning, match="also holds images_val: not read"),
        pytest.warns(UserWarning, match="nothing of 'b'"),
    ):
        data = load(tmp_path / "a.npz")
    assert data.class_names == ("b", "c", "ä")
    assert data.train.targets.tolist() == [0, 2, 1, 0, 2, 1]
    assert data.test.targets.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (["a", "a"], r"two classes at least, or nothing can be told from it, but holds 'a' alone"),
        (["a", "yes"], r"which are 'a', 'b', but it also holds 'yes'; make the labels agree"),
    ],
)
def test_a_test_split_that_tells_nothing_is_refused(tmp_path, labels, why):
    x = RNG.normal(size=(4, 2))
    parts = {"x_train": x, "y_train": np.array(list("abab")), "x_test": x[:2], "y_test": labels}
    np.savez(tmp_path / "a.npz", **parts)
    with pytest.raises(ValueError, match=why):
        load(tmp_path / "a.npz")


X = np.zeros((9, 2))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "z": LABELS}, r"must hold inputs .* but holds x, z; rename"),
        ({}, "but holds nothing"),
        ({"x": X + 1e39, "y": LABELS}, "18 of 18 numbers that are NaN or infinite"),
        ({"x": X * np.nan, "y": LABELS}, "18 of 18 numbers that are NaN"),
        ({"x": X, "y": LABELS + 0.5}, "one whole number or text per sample, got float64 with 3.5"),
        ({"x": X, "y": LABELS * np.nan}, "float64 with nan"),
        ({"x": X, "y": LABELS * np.inf}, "float64 with inf"),
        ({"x": X, "y": LABELS * 2.0**63}, r"float64 with 2.7\d+e\+19; .* within 64 bits"),
        ({"x": X, "y": np.full(9, 2**63, np.uint64)}, "uint64 with 9223372036854775808"),
        ({"x": X, "y": LABELS * 1j}, "got complex128"),
        ({"x": X, "y": np.eye(9)}, r"got int64 of \(9, 9\)|got float64 of \(9, 9\)"),
        ({"x": X, "y": LABELS[:8]}, "9 inputs and 8 targets"),
        ({"x": np.array(["a"] * 9), "y": LABELS}, "inputs must be numbers"),
        ({"x": X, "y": np.array([{}] * 9)}, "must be a .npz file of plain arrays, but: Object"),
        ({"x": X, "y": [0, 0, 0, 0, 0, 1, 1, 2, 2]}, "'1' has 2, '2' has 2; add samples"),
        ({"x": X, "y": [0] * 9}, r"two classes at least, got 1 \('0'\)"),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "a.npz")


def test_nothing_is_unpickled(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return print, ("unpickled",)

    np.savez(tmp_path / "a.npz", x=X, y=np.array([Evil()] * 9))
    with pytest.raises(ValueError, match="plain arrays"):
        load(tmp_path / "a.npz")
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no zip at all"])
def test_broken_files_are_explained(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a .npz file of plain arrays, but: "):
        load(tmp_path / "a.npz")


def test_a_damaged_member_is_explained(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=RNG.normal(size=(99, 9)), y=LABELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a .npz file of plain arrays, but: "):
        load(tmp_path / "a.npz")


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="a single array"):
        load(tmp_path / "a.npz")


PARTS = {"y_train": [0, 1, 0, 1], "y_test": [0, 1]}


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (np.zeros((4, 3)), np.zeros((2, 4)), r"got \(3,\) torch.float32 and \(4,\) torch.float32"),
        (
            np.zeros((4, 3, 8, 8)),
            np.zeros((2, 1, 8, 8)),
            r"got \(3, 8, 8\) torch.float32 and \(1, 8, 8\)",
        ),
        (
            np.zeros((4, 8, 8), np.uint8),
            np.zeros((2, 8, 8)),
            r"got \(1, 8, 8\) torch.uint8 and \(1, 8, 8\) torch.float32; .* the same scale",
        ),
        (np.zeros((4, 8, 0)), np.zeros((2, 8, 0)), r"must hold a number, got shape \(1, 8, 0\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, train, test, says):
    np.savez(tmp_path / "a.npz", x_train=train, x_test=test, **PARTS)
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_part_of_nothing_is_refused(tmp_path, split):
    arrays = {"x_train": X[:4], "x_test": X[:2], **PARTS}
    arrays |= {f"x_{split}": X[:0], f"y_{split}": np.zeros(0, int)}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=f"the {split} split must have samples, got none"):
        load(tmp_path / "a.npz")


def member(shape: str, descr: str = "<f8") -> bytes:
    """A file of an array that says what it holds, and holds nothing."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    ("shape", "descr"),
    [
        ("(1000000000000,)", "<f8"),
        ("(-1, -8)", "<f8"),
        ("(1000000000000,)", "<U0"),
        ("(3,)", "<f8"),
        ("(" + "1, " * 70 + ")", "<f8"),
        ("(" * 3000, "<f8"),
    ],
)
def test_headers_that_promise_what_is_not_there_are_refused(tmp_path, shape, descr):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", member(shape, descr))
        file.writestr("y.npy", member("(9,)", "<i8") + bytes(72))
    with pytest.raises(ValueError, match=r"must be a .npz file of plain arrays, but: ") as told:
        load(tmp_path / "a.npz")
    assert "\n" not in str(told.value)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """100 MB of zeros in 100 kB, as a bomb for a machine of 64 MB."""
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100_000, 125)), y=np.arange(100_000) % 2)
    assert (tmp_path / "a.npz").stat().st_size < 1e6
    monkeypatch.setattr(memory, "free_memory", lambda: 2**26)
    monkeypatch.setattr(_npz, "read_array", None)
    with pytest.raises(ValueError, match=r"must fit into memory, but needs 0.2 GiB at least, and"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("available", [None, "MemTotal: 8 kB\nMemAvailable:    5 kB\n", "none"])
@pytest.mark.parametrize("limit", [None, "max", "4000"])
def test_the_free_memory_is_what_the_system_tells(tmp_path, monkeypatch, available, limit):
    for name, text in (("_INFO", available), ("_LIMIT", limit)):
        monkeypatch.setattr(memory, name, tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    found = memory.free_memory()
    if limit == "4000":
        assert found == 4000
    elif available and "5 kB" in available:
        assert found == 5 * 1024
    else:
        assert found == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_memory_that_is_not_there_after_all_is_told(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", x=X, y=LABELS)

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(_npz, "read_array", fail)
    with pytest.raises(ValueError, match="but: there is not enough memory"):
        load(tmp_path / "a.npz")


def test_encrypted_archives_are_explained(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=LABELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # they stand in both headers
        for found in re.finditer(re.escape(start), bytes(content)):
            content[found.start() + flags] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"but: .*encrypted"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("method", "damage"),
    [
        (zipfile.ZIP_LZMA, True),
        (zipfile.ZIP_BZIP2, True),
        (zipfile.ZIP_DEFLATED, True),
        (zipfile.ZIP_STORED, True),
        (zipfile.ZIP_LZMA, False),
        (zipfile.ZIP_BZIP2, False),
    ],
)
def test_archives_of_every_method_are_read_and_their_damage_explained(tmp_path, method, damage):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as file:
        for name, array in (("x", RNG.normal(size=(9, 50))), ("y", LABELS)):
            with file.open(f"{name}.npy", "w") as place:
                np.lib.format.write_array(place, array)
    if not damage:
        assert load(tmp_path / "a.npz").train.inputs.shape == (6, 50)
        return
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[300:900] = bytes(600)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a .npz file of plain arrays, but: .+; write"):
        load(tmp_path / "a.npz")


def test_unknown_compression_is_explained(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=LABELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for found in re.finditer(b"PK\x01\x02", bytes(content)):
        content[found.start() + 10] = 98
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"but: .*compression"):
        load(tmp_path / "a.npz")


def test_every_truncation_and_flip_is_one_line_or_the_same_data(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X, y=LABELS)
    content, wanted = (tmp_path / "a.npz").read_bytes(), fingerprint(load(tmp_path / "a.npz"))
    damaged = [content[:n] for n in range(0, len(content), 3)]
    for k in range(len(content)):
        damaged.append(content[:k] + bytes([content[k] ^ 255]) + content[k + 1 :])
    answers = []
    for other in damaged:
        (tmp_path / "a.npz").write_bytes(other)
        try:
            answers.append(fingerprint(load(tmp_path / "a.npz")))
        except ValueError as error:
            answers.append(str(error))
    assert len(answers) == len(damaged)
    assert {a for a in answers if ".npz" not in a} == {wanted}
    assert not [a for a in answers if "\n" in a]


def test_members_are_never_written_whatever_they_are_called(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for name in ("../../x.npy", "/tmp/x.npy", "\x1b[2Jx.npy"):
            file.writestr(name, member("(0,)"))
    with pytest.raises(ValueError, match=r"but holds ../../x, /tmp/x, \\x1b\[2Jx; rename"):
        load(tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_of_many_names_some_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"a{k}": [0] for k in range(1000)})
    with pytest.raises(ValueError, match=r"a0, .* and 992 more; rename"):
        load(tmp_path / "a.npz")
