"""The page in Chromium: what a reader sees and does, with no network to ask."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from page_files import contents, write_evaluations, write_rollouts
from r1zero.report.page import html
from r1zero.report.results.load import load
from report_files import RunFiles, paths

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
EVIL = (
    "<script>document.title = 'owned'</script>",
    "</script><img src=x onerror=\"document.title = 'owned'\">",
    "turned \u202e about, NUL \x00, escape \\ud800, \u200bzero width",
    "word " * 210_000,
)
MILLION = len(EVIL[-1])

Open = Callable[..., "sync_api.Page"]


@pytest.fixture(scope="module")
def chromium() -> Iterator["sync_api.Browser"]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("no Chromium: neither `chromium` on the path nor CHROMIUM is set")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one run: 30 steps of 2 groups of 4, one of them hostile, and evaluations.

    Problem `often` is drawn at each step, and wrong until step 15. At step 7 one completion of it
    waits.
    """
    folder = tmp_path_factory.mktemp("page")
    run = RunFiles(folder)
    run.train()
    write_evaluations(run)
    rows = [
        {
            "step": step,
            "problem_id": problem,
            "prompt": f"Prompt of {problem}",
            "completion": f"thought {sample} of {problem} at step {step}",
            "length": 10 * step + sample,
            "rewards/correct": float(step > 15),
            "reward": 1.0 + (step > 15),
        }
        for step in range(1, 31)
        for problem in ("often", f"once-{step}")
        for sample in range(4)
    ]
    rows[6 * 8]["completion"] = "Hmm. Wait, let me\ncheck  that (again)."
    for row, text in zip(rows[-4:], EVIL, strict=True):
        row["completion"] = text
    write_rollouts(run, rows)
    page = folder / "index.html"
    page.write_bytes(html.page(contents(), load(*paths(run))))
    return page


@pytest.fixture
def opened(chromium: "sync_api.Browser", report: Path) -> Iterator[Open]:
    """Open the page at a hash; at the end, nothing was asked for, and nothing went wrong."""
    contexts, wrong = [], []

    def open_page(
        hash_: str = "", *, size: dict[str, int] = DESKTOP, scheme: str = "light"
    ) -> "sync_api.Page":
        context = chromium.new_context(
            viewport=size, color_scheme=scheme, offline=True, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on("request", lambda asked: asked.url.startswith("file:") or wrong.append(asked.url))
        page.goto(report.as_uri() + hash_)
        page.wait_for_selector(".plot svg")
        if hash_.startswith("#rollouts"):
            page.wait_for_selector("#summary >> text=completions")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def summary(page: "sync_api.Page", *, begins: str) -> str:
    page.wait_for_function(
        "text => document.querySelector('#summary').innerText.startsWith(text)", arg=begins
    )
    return str(page.inner_text("#summary"))


def background(page: "sync_api.Page") -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_page_never_scrolls_sideways(opened: Open, size: dict[str, int]) -> None:
    page = opened("#rollouts", size=size)
    for place, shown in (("", "#rows"), ("?row=239", "#detail"), ("?follow=often&of=0", ".steps")):
        page.evaluate("hash => { location.hash = hash }", f"#rollouts{place}")
        page.wait_for_selector(shown)
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]


def test_light_and_dark_follow_the_system_and_the_button(opened: Open) -> None:
    light, dark = opened(), opened(scheme="dark")
    assert background(light) == "rgb(255, 255, 255)"
    assert background(dark) != background(light)
    label = ".plot svg .role-axis-label text"
    fill = "selector => document.querySelector(selector).getAttribute('fill')"
    before = light.evaluate(fill, label)
    light.click("#theme")
    assert background(light) == background(dark)
    light.wait_for_function(
        f"([selector, before]) => ({fill})(selector) !== before", arg=[label, before]
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened: Open, scheme: str) -> None:
    page = opened("#rollouts?row=48&text=wait", scheme=scheme)
    colours = page.evaluate(
        """selector => {
            const colours = (element) => {
                const { color, backgroundColor } = getComputedStyle(element);
                const clear = backgroundColor === "rgba(0, 0, 0, 0)";
                return [color, clear ? colours(element.parentElement)[1] : backgroundColor];
            };
            const shown = (element) => element.offsetParent && !element.disabled;
            const found = [...document.querySelectorAll(selector)].filter(shown);
            return found.map((element) => [element.tagName, ...colours(element)]);
        }""",
        "p, h2, h3, a:not(.skip), td, figcaption, summary, label, legend, button, input, select,"
        " .facts span, .snippet, mark, dt, dd, pre, kbd",
    )
    assert len(colours) > 80
    assert {tag for tag, text, ground in colours if contrast(text, ground) < 4.5} == set()


def contrast(text: str, ground: str) -> float:
    """Ratio of contrast, WCAG 2.2."""

    def luminance(colour: str) -> float:
        shares = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(text), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def test_a_picked_series_stands_out_until_it_is_picked_again(opened: Open) -> None:
    page = opened()
    lines = ".plot svg .mark-line.role-mark path"
    opacity = (
        f"[...document.querySelectorAll('{lines}')].map((line) => line.getAttribute('opacity'))"
    )
    before = page.evaluate(opacity)
    button = page.get_by_role("button", name="two")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"before => {opacity}[0] !== before[0]", arg=before)
    assert button.get_attribute("aria-pressed") == "true"
    assert page.evaluate(opacity)[1] == before[1]
    button.click()
    page.wait_for_function(f"before => {opacity}[0] === before[0]", arg=before)


def test_the_pointer_shows_the_values_of_a_line(opened: Open) -> None:
    page = opened()
    page.locator(".plot svg .mark-symbol.role-mark path").last.hover()
    page.wait_for_selector("#tooltip:not([hidden])")
    assert {"20", "40", "two"} <= set(page.inner_text("#tooltip").split())


def test_filters_find_what_they_say(opened: Open) -> None:
    page = opened("#rollouts")
    summary(page, begins="258 of 258")
    page.select_option("[name=source]", "training")
    summary(page, begins="240 of 258")
    page.select_option("[name=verdict]", "right")
    assert "100 % right" in summary(page, begins="120 of 258")
    page.fill("[name=step-max]", "17")
    summary(page, begins="16 of 258")
    page.fill("[name=length-min]", "172")
    assert "mean reward 2" in summary(page, begins="4 of 258")
    page.fill("[name=reward-max]", "1.5")
    summary(page, begins="0 of 258")
    page.click("text=Clear")
    summary(page, begins="258 of 258")
    page.select_option("[name=source]", "countdown_3")
    summary(page, begins="18 of 258")


def test_matches_are_highlighted_in_list_and_completion(opened: Open) -> None:
    page = opened("#rollouts")
    page.fill("[name=text]", "wait,")
    summary(page, begins="1 of 258")
    assert page.inner_text("#rows mark") == "Wait,"
    page.click("#rows button")
    assert page.inner_text("#detail mark") == "Wait,"
    completion = page.locator("#detail pre").last
    assert completion.text_content() == "Hmm. Wait, let me\ncheck  that (again)."


def test_text_is_plain_unless_it_is_said_to_be_a_regular_expression(opened: Open) -> None:
    page = opened("#rollouts")
    page.fill("[name=text]", "(again).")
    summary(page, begins="1 of 258")
    page.fill("[name=text]", r"of often at step (1|2)$")
    summary(page, begins="0 of 258")
    page.check("[name=regex]")
    summary(page, begins="8 of 258")
    page.fill("[name=text]", "(")
    summary(page, begins="Not a regular expression")


def test_a_completion_shows_its_rewards_and_the_rest_of_its_group(opened: Open) -> None:
    page = opened("#rollouts?row=130")
    text = page.inner_text("#detail")
    assert "datawhale_r1, seed 0, training, step 17" in text
    assert "Reward: correct\n1" in text
    assert "Reward\n2" in text
    assert "Prompt of often" in text
    assert "thought 2 of often at step 17" in text
    mates = page.locator(".mates .snippet").all_inner_texts()
    assert mates == [f"thought {sample} of often at step 17" for sample in (0, 1, 3)]


def test_a_problem_is_followed_through_training(opened: Open) -> None:
    page = opened("#rollouts?row=48")
    page.click("text=Follow this problem")
    steps = page.locator(".steps h4").all_inner_texts()
    assert [
        (f"Step {step}," in text, f"{4 * (step > 15)} of 4" in text)
        for step, text in enumerate(steps, start=1)
    ] == [(True, True)] * 30
    page.locator(".steps section").nth(16).get_by_role("button", name="Open").first.click()
    assert "step 17" in page.inner_text("#detail h3 >> nth=0")


def test_an_evaluated_problem_is_followed_through_the_checkpoints(opened: Open) -> None:
    page = opened("#rollouts?follow=p0001&of=0")
    steps = page.locator(".steps h4").all_inner_texts()
    assert steps == [
        f"Step {step}, countdown_3: {right} of 2 right"
        for step, right in ((0, 0), (20, 0), (40, 2))
    ]


def test_the_address_says_where_the_reader_is_and_back_goes_back(opened: Open) -> None:
    page = opened("#rollouts?text=often&sort=-length")
    summary(page, begins="119 of 258")
    page.click("#rows button >> nth=1")
    first = page.url
    page.click("text=Follow this problem")
    page.wait_for_selector(".steps")
    page.go_back()
    page.wait_for_selector(".steps", state="detached")
    assert page.url == first
    assert "step 30" in page.inner_text("#detail h3 >> nth=0")
    other = opened(first[first.index("#") :])
    other.wait_for_selector("#detail pre")
    assert other.inner_text("#detail") == page.inner_text("#detail")
    page.go_back()
    page.wait_for_selector("#detail pre", state="detached")


def test_keys_go_from_completion_to_completion(opened: Open) -> None:
    page = opened("#rollouts?source=training")
    page.evaluate("document.querySelector('#browser').scrollIntoView()")
    for key in ("j", "j", "ArrowDown", "k", "j"):
        if key == "ArrowDown":
            page.focus("#rows button")
        page.keyboard.press(key)
    assert page.locator("#rows [aria-current=true]").get_attribute("data-row") == "2"
    for _ in range(50):
        page.keyboard.press("j")
    assert page.locator("#rows [aria-current=true]").get_attribute("data-row") == "52"
    assert page.inner_text("#place") == "51–100 of 240"
    page.keyboard.press("f")
    page.wait_for_selector(".steps")
    page.keyboard.press("Escape")
    page.wait_for_selector(".steps", state="detached")


def test_hostile_completions_are_shown_and_do_nothing(opened: Open) -> None:
    page = opened("#rollouts?row=236")
    shown = "[...document.querySelectorAll('#detail pre')].at(-1)?.textContent"
    for row, text in enumerate(EVIL[:2], start=236):
        page.evaluate("hash => { location.hash = hash }", f"#rollouts?row={row}")
        page.wait_for_function(f"text => {shown} === text", arg=text)
    page.evaluate("location.hash = '#rollouts?row=238'")
    page.wait_for_selector("#detail pre >> text=turned")
    turned = page.locator("#detail pre").last
    assert turned.locator(".unseen").all_inner_texts() == ["U+202E", "U+0000", "U+200B"]
    assert r"\ud800" in turned.inner_text()
    page.evaluate("location.hash = '#rollouts?row=239'")
    page.click(f"text=Show all {MILLION:,} characters")
    page.wait_for_function(f"length => {shown}.length === length", arg=MILLION)
    assert page.title() == "A report"
    assert page.locator("#rollouts img, #rollouts script").count() == 0


def test_a_phone_shows_list_and_completion_in_turn(opened: Open) -> None:
    page = opened("#rollouts", size=PHONE)
    page.click("#rows button >> nth=3")
    assert not page.is_visible("#rows")
    page.click("text=Back to the list")
    assert page.is_visible("#rows")
    assert page.evaluate("document.activeElement.dataset.row") == "3"


def test_everything_to_use_has_a_name(opened: Open) -> None:
    page = opened("#rollouts?row=0")
    unnamed = page.evaluate(
        """() => {
            const named = (element) => element.innerText?.trim() || element.ariaLabel
                || element.labels?.length || element.getAttribute("aria-labelledby");
            const used = "button, input, select, [role=region], [role=group]";
            const all = [...document.querySelectorAll(used)].filter((item) => item.offsetParent);
            return all.filter((item) => !named(item)).map((item) => item.outerHTML);
        }"""
    )
    assert unnamed == []


def test_nothing_can_be_asked_of_a_network(chromium: "sync_api.Browser", report: Path) -> None:
    page = chromium.new_page()
    page.goto(report.as_uri())
    refused = page.evaluate(
        """() => fetch("https://example.org").then(() => "answered", (error) => error.name)"""
    )
    assert refused == "TypeError"
    blocked = page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener("securitypolicyviolation", (event) => {
                done(event.effectiveDirective);
            });
            document.body.append(Object.assign(new Image(), { src: "https://example.org/x.png" }));
        })"""
    )
    assert blocked == "img-src"
    page.close()
