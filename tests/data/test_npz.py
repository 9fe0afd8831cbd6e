"""Files of arrays as NumPy writes them."""

import numpy as np
import pytest
import torch

from counterpoise.data import count_classes, load

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
    assert count_classes(data.test.targets) == [1, 1, 1]
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
    arrays = {
        order.format("images", "train"): RNG.normal(size=(4, 2)),
        order.format("labels", "train"): np.array([["b"], ["ä"], ["b"], ["ä"]]),
        order.format("images", "test"): RNG.normal(size=(1, 2)),
        order.format("labels", "test"): np.array([["ä"]]),
        "images_val": np.zeros(3),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    with (
        pytest.warns(UserWarning, match="also holds images_val: not read"),
        pytest.warns(UserWarning, match="nothing of 'b'"),
    ):
        data = load(tmp_path / "a.npz")
    assert data.class_names == ("b", "ä")
    assert data.train.targets.tolist() == [0, 1, 0, 1]
    assert data.test.targets.tolist() == [1]


X = np.zeros((9, 2))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "z": LABELS}, r"must hold inputs .* but holds x, z; rename"),
        ({}, "but holds nothing"),
        ({"x": X + 1e39, "y": LABELS}, "18 of 18 numbers that are NaN or infinite"),
        ({"x": X * np.nan, "y": LABELS}, "18 of 18 numbers that are NaN"),
        ({"x": X, "y": LABELS + 0.5}, "one whole number or text per sample, got float64"),
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
