"""Datasets of Hugging Face's library, made and saved by itself."""

import io
import sys

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Array3D, Audio, ClassLabel, Features, Image, List, Value
from PIL import Image as Pillow

from counterpoise.data import load

CLASSES = ["dog", "cat", "emu"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def pictures(number, seed=0, size=(9, 7)):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (*size, 3), np.uint8) for _ in range(number)]


def of_images(pixels, classes=CLASSES, **columns):
    found = {"image": [Pillow.fromarray(p) for p in pixels]}
    found |= {"label": [k % 3 for k in range(len(pixels))]} | columns
    types = {"image": Image(), "label": ClassLabel(names=classes)}
    types |= {name: Value("string") for name in columns if name not in types}
    return datasets.Dataset.from_dict(found, Features(types))


def test_images_and_classes_of_a_saved_dataset(tmp_path):
    pixels = pictures(30)
    people = [None if k == 4 else f"p{k // 3}" for k in range(30)]
    made = of_images(pixels, [*CLASSES, "yak"], person=people, note=["x"] * 30)
    made.save_to_disk(tmp_path / "pets")
    with pytest.warns(UserWarning, match="1 of 4 classes were left out, .* 'yak'"):
        data = load(tmp_path / "pets", group="person")
    assert data.class_names == ("dog", "cat", "emu")
    assert (len(data.train), len(data.test), data.validation) == (24, 6, None)
    for split in (data.train, data.test):
        for x, y, name in zip(split.inputs, split.targets, split.names, strict=True):
            row = int(name.removeprefix("train[").removesuffix("]"))
            assert torch.equal(x, torch.from_numpy(pixels[row]).permute(2, 0, 1))
            assert y == row % 3
    assert not set(data.train.groups.tolist()) & set(data.test.groups.tolist())
    assert len(torch.cat([data.train.groups, data.test.groups]).unique()) == 11  # None is its own
    assert any("columns that are not used: 'note'" in note for note in data.notes)


def test_it_is_decoded_once_until_its_files_change(tmp_path, monkeypatch):
    def read():
        return load(tmp_path / "pets", image_size=6, cache=str(tmp_path / "cache"))

    of_images(pictures(12)).save_to_disk(tmp_path / "pets")
    entry = read().train.inputs.entry
    monkeypatch.setattr("counterpoise.data._cached_images.Decoder", None)
    assert read().train.inputs.entry.folder == entry.folder
    monkeypatch.undo()
    of_images(pictures(12, seed=1)).save_to_disk(tmp_path / "pets")
    assert read().train.inputs.entry.digest != entry.digest


def test_splits_are_used_for_what_they_are(tmp_path):
    splits = {"training": 12, "dev": 6, "test": 9, "unsupervised": 3}
    made = {name: of_images(pictures(n, seed=n)) for name, n in splits.items()}
    datasets.DatasetDict(made).save_to_disk(tmp_path / "pets")
    with pytest.warns(UserWarning, match="neither train, validation nor test"):
        data = load(tmp_path / "pets")
    assert {name: len(s) for name, s in data.named().items()} == {
        "train": 12,
        "validation": 6,
        "test": 9,
    }
    assert data.test.names[8] == "test[8]"
    with pytest.warns(UserWarning, match="neither"):
        assert len(load(tmp_path / "pets", test="dev").test) == 6
    with pytest.raises(ValueError, match="training, dev, test, unsupervised, got 'valid'"):
        load(tmp_path / "pets", test="valid")


def test_a_split_without_classes_is_refused_or_left_out(tmp_path):
    hidden = of_images(pictures(5), label=[-1] * 5)
    made = {"train": of_images(pictures(15)), "test": hidden}
    datasets.DatasetDict(made).save_to_disk(tmp_path / "pets")
    with pytest.raises(ValueError, match=r"5 of 5 of the test split have none: test\[0\], .* drop"):
        load(tmp_path / "pets")
    with pytest.warns(UserWarning, match="5 rows of the test split"):
        data = load(tmp_path / "pets", missing_labels="drop")
    assert (len(data.train), len(data.test), data.held_out) == (12, 3, True)


def test_broken_images_are_named_and_files_outside_are_read(tmp_path):
    content = io.BytesIO()
    Pillow.fromarray(pictures(1)[0]).save(content, "PNG")
    (tmp_path / "outside.png").write_bytes(content.getvalue())
    cells = [{"bytes": content.getvalue(), "path": None} for _ in range(10)]
    cells[3] = {"bytes": b"no image", "path": None}
    cells[4] = None
    made = datasets.Dataset.from_dict(
        {"picture": cells, "y": ["a", "b"] * 5},
        Features({"picture": Image(), "y": Value("string")}),
    )
    made.save_to_disk(tmp_path / "set")
    files = {"picture": [str(tmp_path / "outside.png")] * 8, "y": ["a", "b"] * 4}
    datasets.Dataset.from_dict(files).to_parquet(tmp_path / "files" / "train.parquet")
    with pytest.raises(
        ValueError, match=r"'picture' \(Image\), 'y' \(Value\); name it by --target"
    ):
        load(tmp_path / "set")
    with pytest.warns(UserWarning, match=r"2 of 10 images .* train\[3\] \(no image .*, train\[4\]"):
        data = load(tmp_path / "set", target="y")
    assert len(data.train) + len(data.test) == 8
    assert data.class_names == ("a", "b")


def test_arrays_keep_their_bytes_and_vectors_are_float32(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (12, 3, 4, 5)).astype(np.uint8)
    v = np.random.default_rng(0).normal(size=(12, 6))
    y = [k % 2 for k in range(12)]
    types = {"x": Array3D((3, 4, 5), "uint8"), "v": List(Value("float64")), "label": Value("int8")}
    made = datasets.Dataset.from_dict({"x": list(x), "v": v.tolist(), "label": y}, Features(types))
    made.save_to_disk(tmp_path / "set")
    with pytest.raises(ValueError, match="one column of arrays, but has 'x', 'v'; drop the others"):
        load(tmp_path / "set")
    for column, other, expected in (("x", "v", x), ("v", "x", v.astype(np.float32))):
        data = load(tmp_path / "set", drop=[other])
        rows = [int(name[6:-1]) for name in (*data.train.names, *data.test.names)]
        found = torch.cat([data.train.inputs[:], data.test.inputs[:]]).numpy()
        assert found.dtype == expected.dtype, column
        assert (found == expected[rows]).all()


def test_a_table_is_read_as_its_csv(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "age": rng.normal(40, 9, 60).round(1),
        "town": rng.choice(["Ulm", "Bonn", "Köln"], 60),
        "kind": rng.choice(["low", "high"], 60),
        "y": np.arange(60) % 2,
    })  # fmt: skip
    frame.loc[3, "age"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    kinds = ["low", "high"]
    cells = frame.assign(kind=frame["kind"].map(kinds.index), tags=[[1, "a"][:1]] * 60)
    cells["clip"] = None
    types = {"age": Value("float64"), "town": Value("string"), "kind": ClassLabel(names=kinds)}
    types |= {"y": Value("int64"), "tags": List(Value("string")), "clip": Audio()}
    cells["tags"] = [["a"]] * 60
    whole = datasets.Dataset.from_dict(cells.to_dict("list"), Features(types))
    whole.save_to_disk(tmp_path / "set")
    with pytest.warns(UserWarning, match="neither numbers nor words .* 'tags'.*, 'clip'"):
        data = load(tmp_path / "set", target="y")
    expected = load(tmp_path / "t.csv", target="y")
    assert data.columns == expected.columns
    for name, split in data.named().items():
        other = expected.named()[name]
        assert torch.equal(split.targets, other.targets)
        assert torch.allclose(split.inputs, other.inputs, equal_nan=True)
    made = {"train": whole.select(range(40)), "test": whole.select(range(40, 60))}
    datasets.DatasetDict(made).save_to_disk(tmp_path / "two")
    with pytest.warns(UserWarning, match="neither"):
        data = load(tmp_path / "two", target="y", drop=["town"])
    assert [column.name for column in data.columns] == ["age", "kind"]
    assert (len(data.train), len(data.test), data.test.names[0]) == (40, 20, "row 0")


def test_what_is_no_data_of_ours_is_refused(tmp_path, monkeypatch):
    words = [f"word {k} of a long and a very different text {k * 77}" for k in range(60)]
    made = datasets.Dataset.from_dict({"text": words, "label": [0, 1] * 30})
    made.save_to_disk(tmp_path / "text")
    with pytest.raises(ValueError, match="'text' hold free text alone; make numbers of it"):
        load(tmp_path / "text")
    types = Features({"a": Audio(), "label": ClassLabel(names=["x", "y"])})
    datasets.Dataset.from_dict({"a": [None] * 4, "label": [0, 1] * 2}, types).save_to_disk(
        tmp_path / "audio"
    )
    with pytest.raises(
        ValueError, match=r"but has 'a' \(Audio\), 'label' \(ClassLabel\); make num"
    ):
        load(tmp_path / "audio")
    both = {"y": ClassLabel(names=["a", "b"]), "z": ClassLabel(names=["a", "b"])}
    datasets.Dataset.from_dict({"y": [0, 1], "z": [0, 1]}, Features(both)).save_to_disk(
        tmp_path / "both"
    )
    with pytest.raises(ValueError, match="'y', 'z' are of type ClassLabel: name one by --target"):
        load(tmp_path / "both")
    (tmp_path / "both" / "state.json").write_text("{")
    with pytest.raises(ValueError, match="must be a dataset that the library datasets reads, but"):
        load(tmp_path / "both")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'counterpoise\[hf\]'"):
        load(tmp_path / "text")


def test_a_name_on_the_hub_is_read_by_load_dataset(tmp_path, monkeypatch):
    asked = []
    made = of_images(pictures(30))
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *given, **named: asked.append((given, named)) or made
    )
    data = load("hf:owner/pets:small")
    assert (data.name, data.source) == ("owner/pets:small", "hf:owner/pets:small")
    assert asked == [(("owner/pets", "small"), {})]
    for word in ("hf:pets", "hf:a/b:c:d", "hf:"):
        with pytest.raises(ValueError, match="must be like hf:OWNER/NAME"):
            load(word)
    monkeypatch.undo()
    folder = tmp_path / "parquet"
    folder.mkdir()
    made.to_parquet(folder / "train.parquet")
    assert len(load(f"hf:{folder}").train) == 24
    with pytest.raises(
        ValueError, match="/no must be a dataset that the library datasets reads, b"
    ):
        load(f"hf:{tmp_path}/no")
