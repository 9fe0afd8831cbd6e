"""A page about hostile names has the same elements as one about harmless names, and more text."""

import re
from html.parser import HTMLParser

import pytest

from counterpoise import report
from counterpoise.study import Plan, Training, Variant, open_study
from counterpoise.text import printable

NASTY = (
    "</title><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "]]><svg onload=alert(1)>",
    "--><!-- {{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; &#x1b;",
    "\x1b[2J\x9b\r\x0c",
    "a\nb",
    "\u202eabc\u2066",
    "javascript:alert(1)",
    "",
)


class Elements(HTMLParser):
    """Every element with its attributes' names, and all text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.found, self.values, self.addresses, self.text = [], [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, *(name for name, _ in attrs)))
        self.values += [value for _, value in attrs if value]
        self.addresses += [value for name, value in attrs if name in ("href", "src")]

    def handle_comment(self, data):
        self.found.append(("comment", data))

    def handle_data(self, data):
        self.text += data


def page(make, names, label):
    plan = Plan(
        label,
        norms=(),
        losses=(),
        samplers=(),
        variant=(Variant(), Variant(loss="focal", settings={"gamma": label})),
        seeds=(0, 1),
        training=Training("mlp", lr=0.1, epochs=2),
    )
    failed = {(f"focal, gamma={label}", 1): f"RuntimeError: {label}"}
    path = report.render(make(plan, names=names, shape=(3,), test_each=6, failed=failed))
    return Elements(path.read_bytes().decode())


@pytest.mark.parametrize("label", NASTY[:-1], ids=ascii)
def test_hostile_names_add_no_element_and_no_attribute(label, make):
    told = page(make, (label, *NASTY), label)
    assert {tag for tag, *_ in told.found} & {"img", "iframe", "object", "comment"} == set()
    assert [e for e in told.found if any(name.startswith("on") for name in e[1:])] == []
    assert [e[0] for e in told.found].count("script") == 1
    everything = told.text + "".join(told.values)
    assert printable(label) in told.text
    assert [c for c in everything if c not in "\n\t" and printable(c) != c] == []
    assert [a for a in told.addresses if not a.startswith("#")] == []


def test_the_elements_are_those_of_harmless_names(make):
    one = page(make, ("x", *map(str, range(len(NASTY)))), "x")
    two = page(make, ("y\x1b<b>", *NASTY), "<b>")
    assert set(two.found) == set(one.found)


def test_what_was_read_and_left_out_stands_beside_the_data(make, small):
    facts = {"notes": ["120 rows", "3 <b>columns</b>"], "left_out": ["x.txt: \x1b no image"]}
    told = Elements(report.render(make(small, facts=facts)).read_text()).text
    assert "What was read:\n120 rows3 <b>columns</b>" in told
    assert "What was left out:\nx.txt: \\x1b no image" in told
    told = Elements(report.render(make(small)).read_text()).text
    assert not re.search("What was (read|left out):", told)


@pytest.mark.slow
def test_figures_of_hostile_names_are_drawn_to_files_of_our_names(make, tmp_path):
    names = ("$x^$", "../../x", "[/b]", "/tmp/x", *NASTY)
    plan = Plan("$y_$", norms=("none", "group"), seeds=(0,), training=Training("mlp", lr=0.1))
    paths = report.write_figures(make(plan, names=names, shape=(3,)), tmp_path / "figures")
    assert {p.name for p in paths} == {p.name for p in (tmp_path / "figures").iterdir()}
    assert {p.stem for p in paths} >= {"forest", "recall_by_class_size", "confusion_0"}
    assert {p.parent for p in tmp_path.rglob("*.p[nd][gf]")} == {tmp_path / "figures"}


def test_a_study_shows_the_same_text_as_its_page(make):
    folder = make(
        Plan("a<b>", norms=("none", "group"), seeds=(0,), training=Training("mlp", lr=0.1))
    )
    assert open_study(folder).data["name"] == "a<b>"
    told = Elements(report.render(folder).read_text())
    assert told.text.count("What helps on a<b>?") == 2  # as the page's title, too
