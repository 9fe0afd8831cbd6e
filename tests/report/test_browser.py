"""The report in a real browser, looked at as a reader would: mouse, keyboard, no script, phone."""

import json
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from counterpoise import report
from counterpoise.text import printable

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver"),
]

ALONE = (  # headless, and no word to anyone
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1280,900",
)
MATRIX = "table.matrix[data-variant='0'] "

# The lowest WCAG contrast of a text with what lies behind it, and where that is.
CONTRAST = """
const rgb = (words) => {
  const n = words.match(/[\\d.]+/g).map(Number), share = words.startsWith("color(");
  return [0, 1, 2].map((k) => share ? n[k] : n[k] / 255).concat(n[3] ?? 1);
};
const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, w, k) =>
  sum + w * (c[k] <= 0.04045 ? c[k] / 12.92 : ((c[k] + 0.055) / 1.055) ** 2.4), 0);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c[3] === 1) return c;
  }
};
let worst = [99, ""];
for (const e of document.querySelectorAll("main *")) {
  if (e.closest("svg") || !e.checkVisibility()) continue;
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  const style = getComputedStyle(e), back = behind(e), front = rgb(style.color);
  const mixed = front.map((v, k) => back[k] + (v - back[k]) * style.opacity * front[3]);
  const [a, b] = [light(mixed), light(back)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < worst[0]) worst = [ratio, e.tagName + "." + e.className + " " + e.textContent];
}
return worst;
"""


def chromium(**preferences):
    options = webdriver.ChromeOptions()
    for word in ALONE:
        options.add_argument(word)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("prefs", preferences)
    return webdriver.Chrome(options=options, service=Service(DRIVER))


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def address(finished, tmp_path_factory):
    return report.render(finished, tmp_path_factory.mktemp("html") / "report.html").as_uri()


@pytest.fixture
def page(browser, address):
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(address)
    return browser


def wait(condition, seconds=5.0):
    return WebDriverWait(None, seconds, poll_frequency=0.02).until(lambda _: condition())


def one(page, css):
    return page.find_element(By.CSS_SELECTOR, css)


def requests(page):
    messages = [json.loads(row["message"])["message"] for row in page.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [p["request"]["url"] for p in sent if not p["request"]["url"].startswith("data:")]


def test_it_asks_for_nothing_and_nothing_goes_wrong(page, address):
    assert requests(page) == [address]
    assert page.get_log("browser") == []


def test_all_charts_are_there(page):
    sizes = page.execute_script(
        "return [...document.querySelectorAll('svg.chart, svg.strip')]"
        ".filter((s) => s.checkVisibility())"
        ".map((s) => { const r = s.getBoundingClientRect(); return [r.width, r.height]; })"
    )
    assert len(sizes) > 60
    assert all(w > 100 and h > 15 for w, h in sizes)
    lines = page.find_elements(By.CSS_SELECTOR, "#curves path.curve")
    assert lines[0].value_of_css_property("stroke-width") == "1.8px"  # the style sheet counts


def test_the_toggle_changes_number_and_shade(page):
    def shown():
        cell = one(page, MATRIX + "tbody tr:last-child td:last-child")
        return cell.text.split(), cell.value_of_css_property("background-color")

    seen = {"by-recall": shown()}
    for mode in ("by-precision", "by-count", "by-recall"):
        one(page, f"label[for={mode}]").click()
        assert seen.setdefault(mode, shown()) == shown()
    (recall, n), (precision, m), (share, count) = (words for words, _ in seen.values())
    assert n == m == count
    assert share == recall != precision
    assert len({shade for _, shade in seen.values()}) > 1


def test_hovering_reads_out_the_cell(page):
    cell = one(page, MATRIX + "tbody tr:nth-child(3) td:nth-child(4)")
    ActionChains(page).scroll_to_element(cell).move_to_element(cell).perform()
    said = one(page, ".modes .readout").text
    assert said == cell.get_attribute("title")
    assert said.startswith("true Pullover, predicted Trouser: ")
    other = one(page, "#differences ~ details[open] td.noise")
    ActionChains(page).scroll_to_element(other).move_to_element(other).perform()
    assert one(page, "#differences ~ .readout").text == other.get_attribute("title")


def test_the_keyboard_goes_through_a_matrix_and_opens_samples(page):
    stops = page.find_elements(By.CSS_SELECTOR, MATRIX + "tbody [tabindex='0']")
    assert len(stops) == 1
    page.execute_script("arguments[0].focus()", stops[0])

    def press(key):
        page.switch_to.active_element.send_keys(key)
        return page.switch_to.active_element

    start = stops[0].get_attribute("title")
    press(Keys.ARROW_DOWN)
    assert press(Keys.ARROW_LEFT).get_attribute("title") != start  # at the edge it stays
    press(Keys.ARROW_UP)
    there = press(Keys.ARROW_RIGHT)
    assert there.get_attribute("title").startswith("true T-shirt, predicted Trouser: ")
    assert one(page, ".modes .readout").text == there.get_attribute("title")
    press(Keys.ENTER)
    gallery = wait(lambda: page.find_elements(By.CSS_SELECTOR, ".gallery:target"))[0]
    assert gallery.is_displayed()
    wait(lambda: page.switch_to.active_element == gallery)
    press(Keys.ESCAPE)
    wait(lambda: not gallery.is_displayed())
    assert page.switch_to.active_element == there


def test_a_cell_shows_the_samples_of_its_own_variant(page):
    place = "table.matrix[data-variant='5'] tbody tr:last-child td a"
    page.execute_script("arguments[0].click()", one(page, place))
    gallery = one(page, ".gallery:target")
    samples = gallery.find_elements(By.TAG_NAME, "li")
    shown = [s for s in samples if s.is_displayed()]
    assert shown
    assert all(("5" in s.get_attribute("data-by").split()) == (s in shown) for s in samples)
    sizes = page.execute_script(
        "return [...arguments[0].querySelectorAll('img')].map((i) => i.naturalWidth)", gallery
    )
    assert set(sizes) == {28}
    gallery.find_element(By.CSS_SELECTOR, ".close").click()
    wait(lambda: not gallery.is_displayed())


@pytest.fixture
def page_without_script(address):
    with chromium(**{"profile.default_content_setting_values.javascript": 2}) as driver:
        driver.get(address)
        yield driver


def test_without_script_it_is_complete(page, page_without_script):
    words = one(page, "main").text
    page = page_without_script
    assert page.find_elements(By.CSS_SELECTOR, "td[tabindex]") == []
    assert one(page, "main").text == words
    one(page, "label[for=by-count]").click()
    link = one(page, MATRIX + "tbody tr:last-child td a")
    assert not one(page, MATRIX + "b.p").is_displayed()
    assert one(page, MATRIX + "b.n").is_displayed()
    link.click()
    gallery = one(page, ".gallery:target")
    assert gallery.is_displayed()
    assert gallery.get_attribute("id") == link.get_attribute("hash").lstrip("#")
    gallery.find_element(By.CSS_SELECTOR, ".close").click()
    wait(lambda: not gallery.is_displayed())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(page, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    backs = {"light": "rgba(255, 255, 255, 1)", "dark": "rgba(20, 24, 28, 1)"}
    assert one(page, "body").value_of_css_property("background-color") == backs[scheme]
    for mode in ("by-recall", "by-count"):
        page.execute_script("arguments[0].click()", one(page, f"#{mode}"))
        ratio, where = page.execute_script(CONTRAST)
        assert ratio > 4.5, where


def test_on_a_phone_only_tables_scroll(page):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        width, seen = page.execute_script(
            "return [innerWidth, document.documentElement.scrollWidth]"
        )
        assert (width, seen) == (390, 390)
        scrolls = page.execute_script(
            "return [...document.querySelectorAll('.box')]"
            ".filter((b) => b.scrollWidth > b.clientWidth).length"
        )
        assert scrolls > 5
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [1100, 1400])
def test_a_desktop_is_filled_and_the_ranking_does_not_scroll(page, width):
    desktop = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desktop)
    try:
        rooms = page.execute_script(
            "return [...document.querySelectorAll('.box:has(> .forest)')]"
            ".map((b) => [b.scrollWidth, b.clientWidth])"
        )
        assert rooms
        assert [room for room in rooms if room[0] > room[1]] == []
        ends = page.execute_script(
            "return [...document.querySelectorAll('.answers > *, .findings > *')]"
            ".map((e) => e.getBoundingClientRect().right)"
        )
        assert max(ends) > 0.85 * width
        lines = page.execute_script(
            "return [...document.querySelectorAll('.name bdi')].filter((e) => e.checkVisibility())"
            ".map((e) => e.getBoundingClientRect().height / parseFloat("
            "getComputedStyle(e).lineHeight))"
        )
        assert max(lines) < 2.5
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_hostile_names_are_shown_as_text(browser, make, small, hostile):
    browser.get(report.render(make(small, names=hostile)).as_uri())
    assert browser.get_log("browser") == []
    heads = browser.find_elements(By.CSS_SELECTOR, "#data tbody th bdi")
    assert [h.get_attribute("textContent") for h in heads] == [printable(name) for name in hostile]
    assert max(h.size["width"] for h in heads) < 250
