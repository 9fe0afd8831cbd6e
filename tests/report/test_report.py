"""The page's content, parsed with what comes with Python."""

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from counterpoise import findings, report
from counterpoise.metrics import dense_confusion
from counterpoise.report._numbers import points
from counterpoise.report._page import page as page_of
from counterpoise.study import Imbalance, Plan, Training, Variant, open_study
from counterpoise.study import record as record_files
from counterpoise.text import printable

VOID = {"meta", "input", "img", "br", "link", "path", "line", "rect"}


class Page(HTMLParser):
    """Elements with their attributes and text, and a check that tags close as they opened."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.open, self.found, self.raw = [], [], path.read_text(encoding="utf-8")
        self.feed(self.raw)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, **dict(attrs), "text": "", "within": [e["tag"] for e in self.open]}
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [
            e
            for e in self.found
            if e["tag"] == tag and all(e.get(k.strip("_")) == v for k, v in attributes.items())
        ]

    def section(self, id):
        (found,) = self.all("section", id=id)
        return found["text"]


def confusion(record):
    test = record.run["test"]
    return dense_confusion(test["confusion_cells"], len(test["support"]))


@pytest.fixture(scope="module")
def page(finished):
    return Page(report.render(finished))


@pytest.fixture(scope="module")
def study(finished):
    return open_study(finished)


def test_the_story_is_told_in_order(page):
    assert [s["id"] for s in page.all("section")] == [
        "verdict",
        "ranking",
        "cost",
        "classes",
        "confusion",
        "curves",
        "probabilities",
        "decisions",
        "after",
        "flow",
        "data",
        "plan",
        "again",
    ]
    linked = [a["href"] for a in page.all("a") if "nav" in a["within"]]
    assert linked == [f"#{s['id']}" for s in page.all("section")]


def test_what_broke_comes_before_the_verdict(page):
    words = page.section("verdict")
    assert words.index("1 of 5 runs cannot be told from guessing") < words.index("is better than")


def test_findings_are_those_that_everyone_gets_with_advice(page, study):
    told = page.section("verdict")
    found = findings.collect_findings(study)
    assert found
    assert [p.text for p in findings.paragraphs(found) if p.text not in told] == []
    folded = [e["text"] for e in page.all("details") if e.get("class") == "advice"]
    codes = {f.code for f in found}
    assert len(folded) == len(codes)
    for code in codes:
        (said,) = [text for text in folded if f" {code}, " in text]
        assert findings.CODES[code].advice.replace("`", "") in said


def test_the_numbers_are_those_of_the_records(page, study):
    ranking, classes = page.section("ranking"), page.section("classes")
    for label, by_seed in study.scores().items():
        assert label in ranking
        assert f"{np.mean(list(by_seed.values())):.1%}" in ranking
    for verdict in study.verdicts():
        assert f"{100 * verdict.interval.estimate:+.1f}".replace("-", "−") in ranking
    recalls = np.mean([r.run["test"]["recall"] for r in study.of("group, focal")], 0)
    assert all(f"{value:.1%}" in classes for value in recalls)
    assert "tail" in classes


def test_a_matrix_holds_the_counts_of_all_seeds(page, study):
    total = sum(map(confusion, study.of("none, focal")))
    rows = re.search(r'<table class="matrix" data-variant="1">.*?</table>', page.raw, re.S)[0]
    cells = re.findall(r'<td class="(?:hit )?c\d r\d p\d"[^>]*>(.*?)</td>', rows)
    counts = [int((re.findall(r'class="n">([\d,]+)<', c) or ["0"])[0]) for c in cells]
    assert counts == total.flatten().tolist()
    shares = re.findall(r'class="r">([^<]+)<', cells[0])
    assert shares == [f"{total[0, 0] / total[0].sum():.0%}"]


def test_differences_are_grey_where_the_seeds_say_so(page, study):
    """Against scipy's paired t test, cell by cell."""
    from scipy import stats

    both = [
        np.array(list(map(confusion, study.of(label)))) / 60
        for label in ("none, cross_entropy", "group, logit_adjusted")
    ]
    with np.errstate(all="ignore"):
        p = stats.ttest_rel(both[1], both[0]).pvalue
    caption = "group, logit_adjusted minus none, cross_entropy"
    table = re.search(rf'<table class="matrix"><caption>{caption}.*?</table>', page.raw, re.S)[0]
    css = re.findall(r'<td class="([^"]*(?:noise|better|worse)[^"]*)"', table)
    certain = np.abs(np.nan_to_num(p, nan=1.0) - 0.05) > 1e-9
    grey = np.array(["noise" in c for c in css]).reshape(10, 10)
    assert (grey == ~(np.nan_to_num(p, nan=1.0) < 0.05))[certain].all()
    assert 0 < grey.sum() < 100


def test_every_pair_of_variants_has_its_difference(page):
    assert len(page.all("details", name="difference")) == 6 * 5 // 2


def test_misclassified_samples_are_those_that_were_misclassified(page, study):
    targets = study.records[0].predictions["test_targets"]
    answers = {
        k: np.array([r.predictions["test_logits"].argmax(1) for r in study.of(label)])
        for k, label in enumerate(study.labels)
    }
    galleries = re.findall(r'id="e-(\d+)-(\d+)"(.*?)</ul>', page.raw, re.S)
    assert len(galleries) > 30
    for true, answer, content in galleries:
        sample = r'data-by="([\d ]+)"><img [^>]*test sample test/(\d+).png"'
        for by, index in re.findall(sample, content):
            assert targets[int(index)] == int(true)
            right = {k for k, a in answers.items() if (a[:, int(index)] == int(answer)).any()}
            assert {int(k) for k in by.split()} == right
    for a in page.all("a"):
        assert a["href"] == "#closed" or page.raw.count(f'id="{a["href"][1:]}"') == 1


def test_learning_rates_and_the_way_to_repeat_it(page, study):
    plan = page.section("plan")
    assert "0.03" in plan
    assert [m["text"] for m in page.all("mark")]
    assert len(page.all("mark")) == len(study.choices)
    again = page.section("again")
    assert "counterpoise compare plan.toml" in again
    assert (study.folder / "plan.toml").read_text() in again


def test_every_chart_is_named_and_every_table_has_heads_and_a_caption(page):
    charts = page.all("svg", role="img")
    assert len(charts) == 6 * 2 + 2 + 1 + 3
    titles = [t["text"] for t in page.all("title") if "svg" in t["within"]]
    assert len([t for t in titles if t]) == len(page.all("desc")) == len(charts)
    assert [s for s in page.all("svg") if not (s.get("role") or s.get("aria-hidden"))] == []
    assert [t for t in page.all("th") if t.get("scope") not in ("row", "col")] == []
    assert len(page.all("caption")) == len(page.all("table"))
    assert [i for i in page.all("img") if not i.get("alt")] == []


def test_nothing_is_fetched_and_no_style_is_inline(page):
    fetched = [e.get(k) for e in page.found for k in ("src", "href", "xlink:href", "action")]
    assert [u for u in fetched if u and not u.startswith(("#", "data:image/png;base64,"))] == []
    assert [e for e in page.found if "style" in e or any(k.startswith("on") for k in e)] == []
    assert page.all("link") == []
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "http://" not in page.raw
    assert "https://" not in page.raw
    assert "url(" not in page.raw


def test_it_stays_small(finished, page):
    assert 100_000 < (finished / "report.html").stat().st_size < 3_000_000


def test_the_same_study_makes_the_same_bytes_and_other_places_work(finished, tmp_path):
    out = report.render(open_study(finished), tmp_path / "new" / "other.html")
    assert out.read_bytes() == report.render(finished).read_bytes()


def test_torch_is_not_imported(finished):
    code = (
        "import sys; from counterpoise import report; report.render(sys.argv[1]);"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, finished], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_that_a_plan_names_is_imported(make, small, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    training = dataclasses.replace(small.training, model="trap:net", augment="trap:augment")
    names = {"norms": ("none", "trap:norm"), "losses": ("trap:loss",), "samplers": ("trap:draw",)}
    folder = make(dataclasses.replace(small, data="trap:data", training=training, **names))
    assert "trap:net" in Page(report.render(folder)).section("plan")
    assert "trap" not in sys.modules


def test_names_are_text_whatever_they_hold(make, small, hostile):
    page = Page(report.render(make(small, names=hostile)))
    assert len(page.all("script")) == 1
    assert [i for i in page.all("img") if not i["src"].startswith("data:")] == []
    shown = {b["text"] for b in page.all("bdi")}
    assert {printable(name) for name in hostile} <= shown


def test_a_hostile_study_and_labels_are_text_too(make, hostile):
    plan = Plan(
        hostile[1],
        norms=(),
        losses=(),
        samplers=(),
        variant=(
            Variant(loss="cross_entropy"),
            Variant(loss="focal", settings={"gamma": "<b>2</b>"}),
        ),
        seeds=(0, 1),
        training=Training("mlp", lr=0.1, epochs=3),
    )
    page = Page(report.render(make(plan)))
    assert page.all("h1")[0]["text"] == f"What helps on {hostile[1]}?"
    assert "gamma=<b>2</b>" in page.section("ranking")


def test_a_running_study_is_told_as_far_as_it_goes(make, small):
    page = Page(report.render(make(small, missing=4)))
    assert "4 of 6 runs to come" in page.section("verdict")
    assert "All nets were trained with the learning rate 0.1" in page.section("plan")


def test_a_study_without_a_finished_run(make, small):
    page = Page(report.render(make(small, missing=6)))
    assert "6 of 6 runs to come" in page.section("verdict")
    assert {"confusion", "classes", "curves"}.isdisjoint(s["id"] for s in page.all("section"))
    assert "learn" in page.section("plan")


def test_failures_are_told_with_their_reasons(make, small):
    why = "RuntimeError: <boom> & more"
    failed = {("focal", seed): why for seed in small.seeds}
    page = Page(report.render(make(small, failed=failed)))
    words = page.section("verdict")
    assert words.count(why) >= 3
    assert "no run finished" in page.section("ranking")


def test_data_that_are_no_images_have_no_pictures(make, small):
    page = Page(report.render(make(small, shape=(7,))))
    assert page.all("img") == []
    assert [a for a in page.all("a") if a["href"].startswith("#e-")] == []


def test_colour_images_and_one_seed(make):
    plan = Plan(
        "photos",
        losses=("cross_entropy",),
        seeds=(0,),
        training=Training("resnet8", lr=0.1, epochs=2),
    )
    page = Page(report.render(make(plan, shape=(3, 64, 64), test_each=20)))
    assert "cross_entropy was trained alone" in page.section("verdict")
    assert page.all("img")


def test_many_classes_are_summed_in_the_matrix_and_whole_in_the_table(make, small):
    names = [f"class {k}" for k in range(60)]
    path = report.render(make(small, names=names, test_each=6))
    page = Page(path)
    assert path.stat().st_size < 3_000_000
    table = re.search(r'<table class="matrix" data-variant="0">.*?</table>', page.raw, re.S)[0]
    assert "40 others" in table
    assert "class 30" in page.section("classes")
    total = sum(int(n) for n in re.findall(r'class="n">(\d+)<', table))
    assert total == 60 * 6 * 3


def test_of_very_many_classes_each_table_shows_some_and_sums_the_rest(make, small):
    names = [f"class {k}" for k in range(120)]
    study = open_study(make(small, names=names, test_each=3))
    path = report.render(study)
    page = Page(path)
    matrix = re.search(r'<table class="matrix" data-variant="1">.*?</table>', page.raw, re.S)[0]
    assert "100 others" in matrix
    counts = re.findall(r'class="n">([\d,]+)<', matrix)
    assert sum(int(n.replace(",", "")) for n in counts) == 120 * 3 * 3

    every = sum(map(confusion, study.records))
    errors = every.sum(0) + every.sum(1) - 2 * every.diagonal()
    numbers = page.raw[page.raw.index("<summary>The numbers</summary>") :]
    numbers = re.search(r"<tbody>.*?</tbody>", numbers, re.S)[0]
    shown = [int(k) for k in re.findall(r'title="class (\d+)"', numbers)]
    assert shown == sorted(shown)
    assert len(shown) == 50
    assert min(errors[shown]) >= max(np.delete(errors, shown))
    rest = np.setdiff1d(np.arange(120), shown)
    recalls = [r.run["test"]["recall"] for r in study.of("cross_entropy")]
    (others,) = re.findall(r">70 others<.*", numbers)
    assert f"{np.mean(np.array(recalls)[:, rest]):.1%}" in others
    assert "70 classes" not in page.section("classes")
    assert "80 classes between the largest and the smallest are not drawn" in page.section(
        "classes"
    )

    data = page.section("data")
    sizes = study.data["train_counts"]
    assert "80 others" in data
    assert f"{sum(sizes[10:90]):,}" in data
    assert "class 9" in data
    assert "class 50" not in data


def test_the_page_does_not_grow_with_the_classes(make, small):
    pages = []
    for n in (110, 220):
        names = [f"class {k:03}" for k in range(n)]
        pages.append(page_of(open_study(make(small, names=names, shape=(7,), test_each=2))))
    few, many = map(len, pages)
    assert abs(many - few) < 0.05 * few


def test_predictions_are_let_go_of(make, small, monkeypatch):
    read = []
    arrays = record_files.arrays
    monkeypatch.setattr(record_files, "arrays", lambda f: read.append(f) or arrays(f))
    study = open_study(make(small))
    page_of(study)
    assert set(read) == {r.folder for r in study.records}
    assert max(map(read.count, read)) <= 5  # matrices, probabilities, decisions, ensembles twice
    assert [r for r in study.records if "predictions" in r.__dict__] == []


def test_two_tall_classes(make):
    plan = Plan(
        "two",
        losses=("cross_entropy", "focal"),
        seeds=(0, 1),
        imbalance=Imbalance("exponential", 100),
        training=Training("mlp", lr=0.1, epochs=1),
    )
    page = Page(report.render(make(plan, names=("no", "yes"), shape=(3,))))
    assert "exponential" in page.section("plan")
    assert [r["text"] for r in page.all("bdi", title="no")]


def test_a_folder_without_a_study(tmp_path):
    with pytest.raises(ValueError, match="must be the folder of a study"):
        report.render(tmp_path)


def test_figures_for_papers(make, small, tmp_path):
    paths = report.write_figures(make(small), tmp_path / "new")
    names = {p.stem for p in paths}
    assert names == {
        "forest",
        "recall_by_class_size",
        "training_loss",
        "training_validation_balanced_accuracy",
        "reliability",
        "reliability_calibrated",
        "layer_flow",
        "confusion_0",
        "confusion_1",
    }
    assert {p.suffix for p in paths} == {".png", ".pdf"}
    assert sorted(p for p in (tmp_path / "new").iterdir()) == sorted(paths)


def test_figures_of_a_study_without_a_finished_run(make, small, tmp_path):
    assert report.write_figures(make(small, missing=6), tmp_path / "figures") == []


def test_one_class_that_is_not_drawn_is_no_plural(make, small):
    names = tuple(f"class {k}" for k in range(41))
    page = Page(report.render(make(small, names=names, shape=(3,), test_each=2)))
    said = "1 class between the largest and the smallest stands in the table only."
    assert said in page.section("classes")


def test_what_is_reached_after_training_stands_beside_every_variant(page, study):
    words = page.section("after")
    for row in study.after_training():
        together = row.ensemble
        assert f"{row.trained:.1%}" in words
        for pair in (row.adjusted.difference, row.normalized.difference):
            assert points(pair.estimate) in words
            assert f"{points(pair.low)} to {points(pair.high)}" in words
        assert f"{together.score:.1%}" in words
        spread = f"{together.low:.1%} to {together.high:.1%}; ±{100 * together.standard_error:.1f}"
        assert spread in words
    assert "not comparable to single runs, as it costs 5 nets at prediction" in words


def test_what_no_run_has_is_left_out_of_the_table(make, small):
    words = Page(report.render(make(small, older=True))).section("after")
    assert "logit adjustment" in words
    assert "τ-normalization" not in words


@pytest.mark.parametrize(
    ("design", "heading"),
    [
        ("cross", "Ranking"),
        ("one_by_one", "What each change gave"),
        ("leave_one_out", "What is lost without each"),
    ],
)
def test_the_differences_are_named_by_the_design(make, small, design, heading):
    study = open_study(make(small))
    object.__setattr__(study.plan, "design", design)
    assert f"<h2>{heading}</h2>" in page_of(study)
