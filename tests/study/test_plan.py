"""A plan on disk and in Python is one tree; what cannot be run is refused with the nearest word."""

import dataclasses
import itertools
import math
import os
import sys
import time
import tomllib
from datetime import date
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from counterpoise.study import Imbalance, Plan, Training, Tuning, Variant, compare
from counterpoise.study._runs import choose, final_runs, tuning_runs
from counterpoise.study._sources import digest_of
from counterpoise.study.plan import GRIDS
from counterpoise.study.plan_file import read, read_file, write
from counterpoise.study.spec import run_id

INF, NAN = math.inf, math.nan

FULL = Plan(
    data="my \"data\" ünd 'more'.csv",
    norms=("none", "group"),
    losses=("cross_entropy", "ldam+drw"),
    samplers=("shuffle", "balanced"),
    variant=(Variant("group", "focal", settings={"gamma": 1.0}),),
    seeds=(3, 1),
    metric="macro_f1",
    margin=0.02,
    baseline="group, ldam+drw, balanced",
    imbalance=Imbalance("exponential", 100.0, test=True),
    training=Training("mlp", epochs=3, lr=0.1, watch=("train", "test"), validation=0.0),
    tuning=Tuning((0.1, 0.2), seeds=2),
)


def test_toml_holds_the_same_tree():
    assert read(tomllib.loads(write(FULL))) == FULL
    assert read(tomllib.loads(write(Plan()))) == Plan()


def test_every_setting_is_written_with_a_comment():
    text = write(Plan())
    for part in (Plan, Imbalance, Training, Tuning):
        for key, field in part.__dataclass_fields__.items():
            if "help" in field.metadata:
                assert any(
                    line.startswith(f"{key} = ") and f"# {field.metadata['help']}" in line
                    for line in text.splitlines()
                ), key


def test_variants_are_crossed_and_the_baseline_comes_first():
    assert len(FULL.variants) == 9
    assert FULL.labels[0] == FULL.baseline
    assert len(set(FULL.labels)) == 9
    assert "group, focal, shuffle, gamma=1.0" in FULL.labels
    assert Plan(losses=("cross_entropy", "focal")).labels == ("cross_entropy", "focal")


def test_single_variants_alone_are_not_crossed():
    assert read({"variant": [{"norm": "group", "loss": "focal"}]}).variants == (
        Variant("group", "focal"),
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"norm": ["none"]}, "did you mean 'norms'"),
        ({"training": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"training": 3}, r"\[training\] must be a table"),
        ({"losses": ["focl"]}, "did you mean 'focal'"),
        ({"losses": ["focl+drw"]}, "did you mean 'focal'"),
        ({"norms": ["grup"]}, "did you mean 'group'"),
        ({"samplers": ["balance"]}, "did you mean 'balanced'"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"training": {"model": "resnet"}}, "did you mean 'resnet8'"),
        ({"training": {"watch": ["val"]}}, "did you mean 'validation'"),
        ({"baseline": "focal"}, "did you mean 'cross_entropy'"),
        ({"variant": [{"los": "focal"}]}, "did you mean 'loss'"),
        ({"seeds": "three"}, "seeds must be of the kind"),
        ({"seeds": [1, 1]}, "each seed once"),
        ({"norms": []}, "a norm"),
        ({"margin": -0.01}, "margin must be above 0 and at most 1"),
        ({"margin": NAN}, "margin must be above 0 and at most 1, but got nan"),
        ({"margin": True}, "margin must be of the kind"),
        ({"seeds": 1.5}, "seeds must be of the kind of 5, how many, or .* but got 1.5"),
        ({"seeds": [1, True]}, "seeds must be integers"),
        ({"seeds": [-1]}, "seeds must be >= 0"),
        ({"seeds": [2**63]}, "below 2\\*\\*63"),
        ({"seeds": 10**30}, "10000 seeds at most"),
        ({"seeds": [1_000_000]}, "choose learning rates, .* but got 1000000; take others"),
        ({"data": ""}, "data must name"),
        ({"data": "a\0b"}, "UTF-8 without NUL, .* but got 'a.x00b'"),
        ({"norms": ["a:\udce9"]}, "UTF-8 without NUL"),
        ({"data": "x" * 10_000}, "4096 characters at most"),
        ({"training": {"epochs": 10**30}}, "epochs must be within 0 .. 100000, but got 10"),
        ({"training": {"batch_size": 2**70}}, "batch_size must be within 0 .. 1000000"),
        ({"training": {"image_size": 10**9}}, "image_size must be within 4 .. 4096"),
        ({"training": {"clip_norm": NAN}}, "clip_norm must be within"),
        ({"training": {"weight_decay": INF}}, "weight_decay must be within"),
        ({"training": {"weight_decay": 10**5000}}, "weight_decay must be within .* got an? int"),
        ({"training": {"momentum": NAN}}, "momentum must be within"),
        ({"training": {"lr": NAN}}, "a learning rate must be within"),
        ({"training": {"lr": True}}, "lr must be of the kind"),
        ({"training": {"model": 3}}, "model must be of the kind of 'auto', but got 3"),
        ({"training": {"epochs": {"a": {"b": {"c": 1}}}}}, "epochs must be of the kind"),
        ({"tuning": {"grid": [True]}}, "tuning.grid must be within"),
        ({"tuning": {"grid": [0.1, 0.1]}}, "each learning rate once"),
        ({"tuning": {"grid": [NAN]}, "training": {"lr": 0.1}}, "tuning.grid must be within"),
        ({"tuning": {"seeds": 10**9}}, "100000 runs at most|tuning.seeds must be within"),
        ({"tuning": {"epochs": 10**9}}, "tuning.epochs must be within"),
        ({"imbalance": {"factor": INF}}, "factor >= 1"),
        ({"imbalance": {"factor": 1e308}}, "none above 1000000000, but got 1e.308"),
        ({"seeds": 0}, "a seed at least"),
        ({"imbalance": {"largest": 10**30}}, "none above 1000000000"),
        ({"imbalance": {"test_largest": -1}}, "largest >= 0"),
        (
            {"norms": [f"m:{k}" for k in range(2000)], "losses": ["focal"]},
            "1000 variants at most, but got 2000",
        ),
        ({"norms": [f"m:{k}" for k in range(99)], "seeds": 5000}, "100000 runs at most"),
        ({"variant": 3}, "variant must be of the kind"),
        ({"variant": ["focal"]}, r"\[\[variant\]\] must be a table"),
        ({"variant": [{"settings": 3}]}, "each variant must be a table"),
        ({"variant": [{"loss": 3}]}, "must be words, but got 3"),
        *(
            ({"variant": [{"loss": "focal", "settings": {"gamma": value}}]}, "settings of a loss")
            for value in (
                INF,
                {"a": 1},
                [[1.0]],
                ["a"],
                [NAN],
                2**63,
                date(2026, 1, 1),
            )
        ),
        ({"variant": [{"settings": {"\udce9": 1}}]}, "UTF-8 without NUL"),
        ({"training": {"epochs": -1}}, "epochs must be within"),
        ({"training": {"epochs": 2.5}}, "must be of the kind"),
        ({"training": {"lr": "best"}}, "a number or 'auto'"),
        ({"training": {"validation": 0.0}}, "choices are made on it"),
        ({"training": {"watch": ["test"]}}, "read once"),
        ({"imbalance": {"factor": 0.5}}, "factor >= 1"),
        ({"imbalance": {"profile": "exp"}}, "did you mean 'exponential'"),
        ({"tuning": {"grid": [0.1, 0.0]}}, "tuning.grid must be within"),
    ],
)
def test_what_cannot_be_run_is_refused(table, says):
    with pytest.raises(ValueError, match=says) as told:
        read(table)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("margin = inf", "margin must be above 0 and at most 1, but got inf"),
        ("training.lr = 2026-01-01", "lr must be of the kind"),
        ("seeds = " + "1" * 5000, "must be a plan that can be read, but: "),
        ("x = " + "[" * 100_000, "too deeply|must be a plan that can be read"),
        (
            "training = " + "{a=" * 100_000,
            "too deeply|must be a plan that can be read",
        ),
        ("training." + "a." * 400 + "a = 1", "but: a key of 20 names or more"),
        ('data = "\\ud800"', "must be a plan that can be read"),
        ("data = 'a\0b'", "must be a plan that can be read"),
        ("#" * 1_000_001, "must have 1000000 bytes at most"),
        ("data = '\udce9'", "must be a plan that can be read, but: 'utf-8' codec"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_in_one_line(tmp_path, text, says):
    (tmp_path / "plan.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=says) as told:
        read_file(tmp_path / "plan.toml")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000


def test_a_plan_that_is_no_ordinary_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zeros.toml").symlink_to("/dev/zero")
    (tmp_path / "folder.toml").mkdir()
    for name in ("pipe", "zeros", "folder", "absent"):
        with pytest.raises(ValueError, match=r"must be a plan that can be read, but: "):
            read_file(tmp_path / f"{name}.toml")


def test_numbers_of_numpy_are_taken_in_python():
    plan = Plan(
        seeds=np.arange(3),
        margin=np.float32(0.5),
        training=Training(epochs=np.int64(3), lr=np.float64(0.1)),
        tuning=Tuning(grid=[np.float64(0.1)]),
        variant=[Variant(settings={"weight": np.array([1.0, 2.0]).tolist()})],
    )
    assert plan.seeds == (0, 1, 2)
    assert {type(seed) for seed in plan.seeds} == {int}
    assert type(plan.training.epochs) is int
    assert read(tomllib.loads(write(plan))) == plan
    assert Plan(seeds=np.int64(2)).seeds == (0, 1)
    assert Plan(seeds=itertools.repeat(1, 1)).seeds == (1,)


@pytest.mark.parametrize("seeds", [1.5, np.float64(2.0), "3", itertools.count()])
def test_compare_refuses_seeds_that_are_none(seeds):
    with pytest.raises(ValueError, match=r"seeds must be of the kind|10000 seeds at most"):
        compare("digits", seeds=seeds)


@pytest.mark.parametrize("data", [None, 3, [1, 2], object()])
def test_compare_refuses_what_are_no_data(data):
    with pytest.raises(TypeError, match=r"data must be a name, a path, a plan or a data.Splits"):
        compare(data)


@pytest.mark.parametrize("value", [torch.ones(2), np.ones(2), None, {1: 2}])
def test_settings_that_no_file_can_hold_are_refused(value):
    with pytest.raises(ValueError, match="settings of a loss or model must be") as told:
        Plan(variant=(Variant(loss="focal", settings={"alpha": value}),))
    assert "\n" not in str(told.value)


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63) + 1, 2**63 - 1)
settings = st.dictionaries(texts, texts | st.booleans() | numbers | st.lists(numbers), max_size=3)
between = partial(st.floats, allow_nan=False)
plans = st.builds(
    Plan,
    data=texts.filter(bool),
    norms=st.just(("none",)),
    losses=st.lists(texts.map("my:{}".format), min_size=1, max_size=2, unique=True).map(tuple),
    variant=st.lists(
        st.builds(Variant, loss=texts.map("your:{}".format), settings=settings),
        max_size=2,
        unique=True,
    ).map(tuple),
    seeds=st.lists(st.integers(2_000_000, 2**63 - 1), min_size=1, max_size=3, unique=True),
    margin=between(1e-300, 1),
    imbalance=st.builds(Imbalance, factor=between(1, 1e9), test=st.booleans()),
    training=st.builds(
        Training,
        model=texts.map("my:{}".format),
        lr=between(1e-30, 1e30),
        weight_decay=between(0, 1e6),
        watch=st.just(()) | st.just(("train", "test")),
    ),
    tuning=st.builds(Tuning, grid=st.lists(between(1e-30, 1e30), unique=True, max_size=3)),
)


@given(st.data())
def test_every_plan_that_may_be_run_reads_back_as_it_was_written(drawn):
    try:
        plan = drawn.draw(plans)
    except ValueError as error:  # two variants of the same label, by the settings' text
        assume("different names" not in str(error))
        raise
    assert read(tomllib.loads(write(plan))) == plan


def test_a_plan_that_toml_cannot_hold_is_not_written():
    plan = Plan()
    object.__setattr__(plan, "margin", INF)  # as no plan can be made
    with pytest.raises(ValueError, match="a plan must be one that TOML can hold, but: "):
        write(plan)


def test_every_variant_gets_the_same_budget_on_seeds_that_are_not_reported():
    plan = dataclasses.replace(FULL, training=Training("mlp", epochs=3))
    runs = tuning_runs(plan, "data")
    budget = [sum(r.label == label for r in runs) for label in plan.labels]
    assert set(budget) == {len(plan.tuning.grid) * plan.tuning.seeds}
    assert not {r.spec.seed for r in runs} & set(plan.seeds)
    assert tuning_runs(FULL, "data") == []  # its rate is fixed
    assert {r.spec.lr for r in tuning_runs(Plan(), "data")} == set(GRIDS["sgd"])


def test_the_best_mean_on_validation_is_chosen_and_of_equals_the_lower_rate():
    plan = Plan(
        losses=("cross_entropy", "focal", "ldam"),
        seeds=(0, 1, 2, 3, 4),
        tuning=Tuning((0.1, 0.2, 0.3), seeds=2),
    )
    scores = {
        ("cross_entropy", "{'lr': 0.1}"): [0.5, 0.7],
        ("cross_entropy", "{'lr': 0.2}"): [0.7, 0.7],
        ("cross_entropy", "{'lr': 0.3}"): [0.8, 0.6],
        ("focal", "{'lr': 0.1}"): [0.9],  # one of its two trainings failed
        ("focal", "{'lr': 0.3}"): [0.2, 0.2],
    }
    assert choose(plan, scores) == {"cross_entropy": {"lr": 0.2}, "focal": {"lr": 0.3}}
    final = final_runs(plan, "data", {"focal": {"lr": 0.3}})
    assert [r.spec.lr for r in final] == [0.3] * 5
    assert choose(FULL, {}) == {label: {"lr": 0.1} for label in FULL.labels}


def test_a_run_is_another_one_when_anything_changes_that_its_results_depend_on():
    def first(plan=FULL, data="data"):
        return run_id(final_runs(plan, data, choose(plan, {}))[0].spec.to_json())

    ids = {first(), first(data="other data")}
    for change in ({"seeds": (9,)}, {"baseline": FULL.labels[1]}, {"metric": "accuracy"}):
        ids.add(first(dataclasses.replace(FULL, **change)))
    for change in (
        *({"lr": 0.3}, {"epochs": 9}, {"batch_size": 7}),
        *({"momentum": 0.5}, {"watch": ("train",)}),
    ):
        training = dataclasses.replace(FULL.training, **change)
        ids.add(first(dataclasses.replace(FULL, training=training)))
    assert len(ids) == 10
    more = dataclasses.replace(FULL, seeds=(3, 1, 5), margin=0.5, norms=("none", "group", "batch"))
    assert first(more) == first()


def test_a_users_object_that_changes_makes_another_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan, ids = Plan(losses=("mine_for_a_test:make",), seeds=(0,)), set()
    for text in ("def make(counts): ...", "def make(counts): return None"):
        (tmp_path / "mine_for_a_test.py").write_text(text)
        sys.modules.pop("mine_for_a_test", None)
        run = final_runs(plan, "data", {plan.labels[0]: {"lr": 0.1}})[0]
        ids.add(run_id(run.spec.to_json()))
    assert len(ids) == 2


def test_the_digest_of_the_users_code_follows_its_imports(tmp_path, monkeypatch):
    """Of an own module, package or namespace, absolute or relative; never of installed ones."""
    for name, text in {
        "f_net": "import f_layers.conv\nfrom torch import nn\nimport surely.not_there\n",
        "f_layers/__init__": "from . import norm\nfrom .. import too_far\n",
        "f_layers/conv": "import os, sys\nfrom f_loose import part\nfrom .act import act\n",
        "f_layers/norm": "import f_net  # in a circle\n",
        "f_layers/act": "def broken(:\n",
        "f_layers/unused": "",
        "f_loose/part": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "f_layers" / "act.py").write_text("act = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = digest_of("f_net:net")
    assert digest_of("f_net:other") == before
    for name in (
        "f_net",
        "f_layers/__init__",
        "f_layers/conv",
        "f_layers/norm",
    ):
        path = tmp_path / f"{name}.py"
        path.write_text(path.read_text() + "# changed\n")
        assert digest_of("f_net:net") != before, name
        before = digest_of("f_net:net")
    for name in ("f_layers/act", "f_loose/part"):
        (tmp_path / f"{name}.py").write_text("changed = (:\n")  # told when it is imported
        assert digest_of("f_net:net") != before, name
        before = digest_of("f_net:net")
    (tmp_path / "f_layers" / "unused.py").write_text("changed = 1\n")
    assert digest_of("f_net:net") == before
    assert digest_of("surely_not_there:net") is None


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 100_000) + "=1",
        "[" + ".".join(['"b"'] * 100_000) + "]",
        " x = { " + " . ".join("c" * 50_000) + " = 1 }",
        "a" * 900_000 + "=1",
    ],
    ids=["dots", "table", "inline", "long"],
)
def test_keys_of_many_parts_are_refused_at_once(tmp_path, text):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    begin = time.perf_counter()
    with pytest.raises(ValueError, match=r"must be a plan|a key of a plan"):
        read_file(path)
    assert time.perf_counter() - begin < 5


def test_numbers_and_paths_with_dots_are_no_keys(tmp_path):
    path = tmp_path / "plan.toml"
    grid = ", ".join(f"{k}.5" for k in range(59))
    path.write_text(f'data = "a.b/../c.d.e.npz"\n[tuning]\ngrid = [{grid}]\n')
    assert len(read_file(path).tuning.grid) == 59
