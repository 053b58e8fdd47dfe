"""Links, anchors and commands of the documentation exist."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest
import typer.main

from r1zero.cli import app
from r1zero.settings import load_recipe, recipe_names

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "config/README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Options of snakemake that take one value, and those that take all words that follow.
ONE_VALUE = {"--cores", "--configfile", "--profile", "--resources"}
LAST = {"--config", "--forcerun"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.M):
        plain = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@each_page
def test_relative_links_and_anchors_resolve(page: Path) -> None:
    broken = []
    for link in re.findall(r"]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """Words after a program's name, wherever the page has it as code."""
    text = re.sub(r" *\\\n *", " ", page.read_text(encoding="utf-8"))
    blocks = "\n".join(re.findall(r"^```(?:bash)?\n(.*?)^```", text, flags=re.S | re.M))
    lines = blocks.splitlines() + re.findall(r"`([^`\n]+)`", text)
    for line in lines:
        command = line.partition(" #")[0]
        if match := re.search(rf"(?:^|\s){re.escape(program)}(?=\s|$)(.*)", command):
            yield shlex.split(match[1])


def is_placeholder(word: str) -> bool:
    return not re.fullmatch(r"[a-z0-9_-]+", word)


@each_page
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z_-]*):", makefile, flags=re.M))
    asked = {
        word
        for words in commands(page, "make")
        for word in words
        if "=" not in word and not is_placeholder(word)
    }
    assert asked <= targets


@each_page
def test_subcommands_and_their_options_exist(page: Path) -> None:
    for words in commands(page, "python -m r1zero"):
        command: Any = typer.main.get_command(app)
        for word in words:
            if not hasattr(command, "commands") or is_placeholder(word):
                break
            assert word in command.commands, words
            command = command.commands[word]
        known = {"--help", *(name for each in command.params for name in each.opts)}
        asked = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert asked <= known, words


@each_page
def test_snakemake_targets_exist(page: Path) -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk")) + (
        ROOT / "Snakefile"
    ).read_text(encoding="utf-8")
    known = set(re.findall(r"^rule (\w+):", rules, flags=re.M))
    recipes = recipe_names(ROOT / "config")
    known |= {f"{kind}_{name}" for name in recipes for kind in ("train", "evaluate")}
    known |= {f"train_{load_recipe(name, ROOT / 'config').task}" for name in recipes}
    for words in commands(page, "snakemake"):
        before = takewhile(lambda word: word not in LAST, words)
        targets = {
            word
            for last, word in pairwise(["", *before])
            if last not in ONE_VALUE and not word.startswith("-") and not is_placeholder(word)
        }
        assert targets <= known, words


def test_the_tests_of_each_invariant_exist() -> None:
    text = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    table = text.partition("## Invariants and their tests")[2].partition("`tests/` mirrors")[0]
    named = re.findall(r"`([\w/]+/(?:\w+\.py)?)`", table.partition("|---|---|")[2])
    assert named
    assert not [path for path in named if not (ROOT / "tests" / path).exists()]


def test_the_tests_of_each_finding_exist() -> None:
    text = (ROOT / "docs" / "gpu_findings.md").read_text(encoding="utf-8")
    short = re.search(r"`LANE` is `([\w/.]+)`", text)
    assert short
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", text.replace("LANE::", f"{short[1]}::"))
    assert len(named) > 16
    for path, test in named:
        content = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in content, f"{path}::{test}"
