import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import altair as alt

from page_files import contents, write_rollouts
from r1zero.core.formatting import INVISIBLE
from r1zero.report.page import html
from r1zero.report.page.charts import interactive
from r1zero.report.paper.document import Contents, Figure, Part, Table
from r1zero.report.results.load import load
from report_files import paths, small_run


class Seen(HTMLParser):
    """The elements of a page, its visible text, and its scripts."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._raw = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            self.scripts[-1] += data
        elif not self._raw:
            self.text.append(data)

    @property
    def policy(self) -> str:
        found = [attributes for tag, attributes in self.tags if tag == "meta"]
        return next(str(item["content"]) for item in found if "http-equiv" in item)


def rendered(folder: Path, report: Contents) -> Seen:
    return Seen(html.page(report, load(*paths(small_run(folder)))))


def test_the_parts_are_there_in_order_with_their_tables_figures_and_samples(tmp_path: Path) -> None:
    seen = rendered(tmp_path, contents())
    text = " ".join(" ".join(seen.text).split())
    order = ["A report", "Abstract", "Accuracy rises.", "Some text.", "In per cent.", "50.0"]
    order += ["Learning curve", "results/x.json", "The first", "<think>1+1</think>", "Rollouts"]
    places = [text.rindex(item) for item in order]
    assert places == sorted(places)
    assert ("section", "results") in [(tag, found.get("id")) for tag, found in seen.tags]


def test_text_is_shown_and_never_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"
    part = Part("evil", evil, (evil,), (), (), ())
    table = Table(evil, evil, evil, contents().tables[0].data, (evil,), ((evil,),), frozenset(), ())
    figure = Figure(evil, evil, evil, contents().figures[0].chart, (Path(evil),))
    part = Part("evil", evil, (evil,), (table,), (figure,))
    seen = rendered(tmp_path, Contents(evil, (evil,), (part,)))
    assert len(seen.scripts) == len(rendered(tmp_path / "plain", contents()).scripts)
    assert "img" not in {tag for tag, _ in seen.tags}
    assert not any(name.startswith("on") for _, found in seen.tags for name in found)
    assert evil in seen.text


def test_what_stands_between_backticks_is_code(tmp_path: Path) -> None:
    report = contents()
    [part, *_] = report.parts
    changed = replace(part, paragraphs=("run `a <b>` now", "one ` stays"))
    page = html.page(replace(report, parts=(changed,)), load(*paths(small_run(tmp_path))))
    assert b"<p>run <code>a &lt;b&gt;</code> now</p>" in page
    assert b"<p>one ` stays</p>" in page


def test_what_cannot_be_seen_is_marked(tmp_path: Path) -> None:
    seen = rendered(tmp_path, contents(abstract="a\u202eb\x00c\ud800d\u200be\x1b[31m\r"))
    text = "".join(seen.text)
    assert all(f"U+{code}" in text for code in ("202E", "0000", "D800", "200B", "001B", "000D"))
    assert INVISIBLE.search(text) is None


def test_the_policy_admits_only_the_scripts_and_styles_of_the_page(tmp_path: Path) -> None:
    seen = rendered(tmp_path, contents())
    run = seen.scripts[2:]
    hashes = [base64.b64encode(hashlib.sha256(item.encode()).digest()).decode() for item in run]
    scripts = next(item for item in seen.policy.split("; ") if item.startswith("script-src"))
    assert scripts == f"script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'"
    assert seen.policy.startswith("default-src 'none'; ")
    assert "unsafe" not in seen.policy


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    seen = rendered(tmp_path, contents())
    loading = {"link", "iframe", "object", "embed", "base"}
    assert not loading & {tag for tag, _ in seen.tags}
    assert not any("src" in found for _, found in seen.tags)
    links = [found["href"] for tag, found in seen.tags if tag == "a"]
    assert all(str(link).startswith("#") for link in links)


def test_the_page_says_what_share_of_the_completions_it_has(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    write_rollouts(
        run, [{"step": step, "completion": f"{step} {step**9}"} for step in range(1, 1001)]
    )
    runs = load(*paths(run))
    whole = " ".join(Seen(html.page(contents(), runs)).text)
    assert "All 1,000 completions" in whole
    thinned = " ".join(Seen(html.page(contents(), runs, browser_mb=0.005)).text)
    found = re.search(r"([\d,]+) of 1,000 completions .*\(([\d.]+)%\)", thinned)
    assert found is not None
    assert float(found[2]) == round(int(found[1].replace(",", "")) / 10, 1)


def test_data_cannot_end_its_script(tmp_path: Path) -> None:
    chart = alt.Chart(alt.InlineData(values=[{"x": "</script><!--", "y": 1}])).mark_bar()
    figure = Figure("f", "F", "f", chart.encode(x="x:N", y="y:Q"), ())
    seen = rendered(tmp_path, Contents("t", (), (Part("p", "P", (), (), (figure,)),)))
    drawn = json.loads(seen.scripts[0])["figures"]["f"]["spec"]
    assert [{"x": "</script><!--", "y": 1}] in drawn["datasets"].values()


def test_series_of_a_chart_are_left_to_the_page() -> None:
    chart = interactive(contents().figures[0].chart)
    assert chart.series == (("one", "#0072B2"), ("two", "#D55E00"))
    assert all(unit["encoding"]["color"]["legend"] is None for unit in chart.spec["layer"])


def test_charts_that_colour_in_two_ways_keep_their_own_legends() -> None:
    data = alt.InlineData(values=[{"a": "x", "b": "y", "n": 1}])
    charts = [
        alt.Chart(data)
        .mark_bar()
        .encode(x="n:Q", color=alt.Color(field, type="nominal", scale=scale))
        for field, scale in (
            ("a", alt.Scale(domain=["x"], range=["#111111"])),
            ("b", alt.Scale(domain=["y"], range=["#222222"])),
        )
    ]
    chart = interactive(alt.hconcat(*charts))
    assert chart.series == ()
    assert all("legend" not in part["encoding"]["color"] for part in chart.spec["hconcat"])


def test_many_lines_get_no_points_to_hover_over() -> None:
    values = [{"step": step, "value": step} for step in range(5000)]
    chart = alt.Chart(alt.InlineData(values=values)).mark_line().encode(x="step:Q", y="value:Q")
    assert interactive(chart).spec["mark"]["type"] == "line"
