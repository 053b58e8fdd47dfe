import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pypdfium2
import pytest

from r1zero.core.errors import UserError
from r1zero.report.claims.base import Configured
from r1zero.report.claims.literature import CLAIMS
from r1zero.report.claims.verdicts import judge
from r1zero.report.paper import samples
from r1zero.report.paper.document import Contents, Part, Sample, Table
from r1zero.report.paper.pdf import pdf
from r1zero.report.paper.rendering import to_latex, to_markdown
from r1zero.report.paper.sections import contents
from r1zero.report.paper.tables.comparisons import ablations_of, ablations_table
from r1zero.report.paper.tables.published import published_table
from r1zero.report.paper.tables.scores import main_table
from r1zero.report.results.inputs import RunResults
from r1zero.report.results.load import load
from r1zero.report.results.published import published_of
from r1zero.report.statistics.intervals import two_sample_delta
from r1zero.report.statistics.measures import groups_of, names_of
from report_files import RunFiles, edit, paths, provenance, small_run, two_steps, write_completions
from tiny import CONFIG

HOSTILE = (
    '#set page(fill: red) #panic("x") $a^2$ @label <tag> *bold* `raw` ``` #{1/0}\n'
    "<script>alert(1)</script> ![x](http://x) | cell \\input{/etc/passwd}"
)


def varied(folder: Path, name: str, seed: int = 0, **settings: object) -> RunFiles:
    """A run of a variant, whose settings differ by dotted keys written with two underscores."""
    run = small_run(folder, name, seed)
    run.train(settings={key.replace("__", "."): value for key, value in settings.items()})
    return run


def part_of(report: Contents, anchor: str) -> Part:
    return next(part for part in report.parts if part.anchor == anchor)


def limits_of(runs: list[RunResults]) -> str:
    return " ".join(part_of(contents(runs, ()), "limits").paragraphs)


def test_the_abstract_has_its_figures_from_the_results(tmp_path: Path) -> None:
    runs = load(*paths(small_run(tmp_path), small_run(tmp_path, seed=1)))
    change = groups_of(runs)[0].change("countdown_3", "accuracy")
    text = " ".join(contents(runs, ()).abstract)
    shares = [f"{100 * share:.1f} %" for share in (change.base, change.trained)]
    for figure in (*shares, "mini-base", "countdown", "2 seeds", "10.0 min", "247 k tokens"):
        assert figure in text


def test_an_unsettled_change_is_not_told_as_one(tmp_path: Path) -> None:
    run = two_steps(tmp_path, [[0], [1], [0], [1]], [[1], [1], [0], [0]])
    text = " ".join(contents(load(*paths(run)), ()).abstract)
    assert "50.0 %" in text
    assert "settled" in text
    assert "rose" not in text


def test_limits_come_from_the_data(tmp_path: Path) -> None:
    one = limits_of(load(*paths(small_run(tmp_path))))
    for named in ("one seed", "Scale mini", "One backend, trl"):
        assert named in one
    assert "length limit" not in one
    several = [small_run(tmp_path, seed=seed) for seed in (1, 2)]
    for run in several:
        path = run.evaluations["countdown_3", 40]
        problems = json.loads(path.read_text())["problems"]
        edit(path, problems=[{**item, "truncated": [1, 0]} for item in problems])
    text = limits_of(load(*paths(*several)))
    assert "one seed" not in text
    assert "datawhale_r1 on countdown_3 (50.0 %)" in text


def test_a_training_that_diverged_is_among_the_limits(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    rows = [{"step": step, "loss": 0.1, "entropy": 1.0} for step in range(1, 41)]
    rows[36]["loss"] = math.inf
    rows[22]["loss"] = math.nan
    run.train(metrics=rows)
    text = limits_of(load(*paths(run)))
    assert "datawhale_r1, seed 0" in text
    assert "step 23" in text
    assert "diverged" not in limits_of(load(*paths(small_run(tmp_path / "sound"))))


def test_ablations_are_found_by_their_settings(tmp_path: Path) -> None:
    runs = load(
        *paths(
            small_run(tmp_path),
            small_run(tmp_path, seed=1),
            varied(tmp_path, "datawhale_r1-beta_0.04", algorithm__beta=0.04),
            varied(tmp_path, "another_name", algorithm__loss_type="dr_grpo"),
            varied(tmp_path, "far", model="m", dataset="d", algorithm__loss_type="dapo"),
        )
    )
    groups = {group.run.recipe: group for group in groups_of(runs)}
    [found] = ablations_of(list(groups.values()))
    # Recipes come before variants, and of those with as many arms the first by name.
    assert found.reference.run.recipe == "another_name"
    assert {arm.run.recipe for arm in found.arms} == {"datawhale_r1", "datawhale_r1-beta_0.04"}
    assert found.keys == ["algorithm.beta", "algorithm.loss_type"]
    table = ablations_table([found])
    row = next(row for row in table.data.to_dicts() if row["recipe"] == "datawhale_r1-beta_0.04")
    arms = [
        [suite.trained.outcomes("correct") for suite in groups[name].of_suite("countdown_3")]
        for name in ("another_name", "datawhale_r1-beta_0.04")
    ]
    assert row["delta_reference"] == pytest.approx(two_sample_delta(*arms).estimate, abs=1e-6)
    assert "beta 0.04; loss_type grpo" in row["settings"]


def test_the_recipe_with_most_arms_is_what_the_others_are_held_to(tmp_path: Path) -> None:
    two = {"algorithm__beta": 0.01, "algorithm__epsilon": 0.3}
    runs = [
        small_run(tmp_path),
        varied(tmp_path, "another_name", algorithm__loss_type="dr_grpo"),
        varied(tmp_path, "datawhale_r1-beta_0.04", algorithm__beta=0.04),
        # It differs from the other recipe in three settings.
        varied(tmp_path, "datawhale_r1-beta_0.01.epsilon_0.3", **two),
    ]
    [found] = ablations_of(groups_of(load(*paths(*runs))))
    assert found.reference.run.recipe == "datawhale_r1"
    assert len(found.arms) == 3


def test_runs_that_were_measured_otherwise_are_no_ablation(tmp_path: Path) -> None:
    other = varied(tmp_path, "datawhale_r1-beta_0.04", algorithm__beta=0.04)
    for path in other.evaluations.values():
        edit(path, suite_sha256="of other problems")
    groups = groups_of(load(*paths(small_run(tmp_path), other)))
    assert ablations_of(groups) == []


def test_without_ablations_and_backends_the_parts_have_no_tables(tmp_path: Path) -> None:
    report = contents(load(*paths(small_run(tmp_path))), ())
    for part in (part_of(report, "ablations"), part_of(report, "backends")):
        assert part.paragraphs
        assert part.tables == ()


def test_one_recipe_on_two_backends_is_compared_whatever_their_packages(tmp_path: Path) -> None:
    seeds = range(3)
    runs = [small_run(tmp_path, seed=seed) for seed in seeds]
    for seed in seeds:
        run = small_run(tmp_path, seed=seed, backend="swift")
        edit(run.model, provenance=provenance(trl="0.29.0", **{"ms-swift": "4.6.0"}))
        runs.append(run)
    results = load(*paths(*runs))
    verdicts = judge(CLAIMS, results, Configured.of(CONFIG))
    agreement = next(item for item in verdicts if item.claim.id == "backends_agree")
    assert agreement.interval is not None
    assert agreement.verdict != "not tested"
    report = contents(results, verdicts)
    table = part_of(report, "backends").tables[0]
    assert table.data.select("recipe", "first", "second").rows() == [
        ("datawhale_r1", "swift", "trl")
    ]
    assert table.data["delta"][0] == pytest.approx(0, abs=1e-6)
    # Backends never share a row: each row of scores is of one backend.
    (main, *_) = part_of(report, "results").tables
    assert {row[0] for row in main.rows} == {"datawhale_r1 (swift)", "datawhale_r1 (trl)"}
    environments = part_of(report, "provenance").tables[2]
    assert sum("ms-swift 4.6.0" in row[-1] for row in environments.rows) == 1


def test_published_scores_are_compared_at_paper_scale_only(tmp_path: Path) -> None:
    mini = groups_of(load(*paths(small_run(tmp_path, "nano_aha"))))
    files = small_run(tmp_path, "nano_aha", seed=1, scale="paper")
    for path in files.evaluations.values():
        edit(path, suite="countdown_3to4")
    paper = groups_of(load(*paths(files)))
    published = published_of(["nano_aha"], CONFIG)
    assert published_table(mini, published, names_of(mini)) is None
    table = published_table(paper, published, names_of(paper))
    assert table is not None
    assert table.rows[0][3] == "– → 60.0"
    assert table.rows[0][4] == main_table(paper).rows[0][3]
    assert CONFIG / "recipes" / "nano_aha.yaml" in table.files


def sampled_run(folder: Path, text: str = "<think>…</think>") -> RunFiles:
    """Three problems; base length 50; the trained model solves p0000 and p0001, in 40 and 70."""
    run = RunFiles(folder)
    run.train(steps=[0, 20])
    run.evaluate(0, [[0], [0], [0]], length=[[50]] * 3)
    completions = run.folder / "completions.parquet"
    write_completions(completions, [(f"p{i:04d}", 0, f"{text} {i}", int(i < 2)) for i in range(3)])
    run.evaluate(20, [[1], [1], [0]], length=[[40], [70], [90]], completions=completions)
    return run


def test_samples_are_chosen_by_rule(tmp_path: Path) -> None:
    groups = groups_of(load(*paths(sampled_run(tmp_path))))
    found = samples.samples_of(groups, names_of(groups))
    assert [sample.title.partition(":")[0] for sample in found] == [
        "Correct",
        "Correct, longer than the base model's mean",
        "Wrong",
    ]
    assert [sample.completion[-1] for sample in found] == ["0", "1", "2"]
    assert found[2].notes == ("problem p0002, sample 0", "90 tokens")


def test_long_completions_are_cut_and_invisible_characters_marked() -> None:
    assert samples.shortened("x" * 2000).endswith("[… 500 more characters]")
    assert samples.shortened("a\x1b[31m\u202eb\u200bc\td\r\n") == "a\ufffd[31m\ufffdb\ufffdc\td\n"


def test_completions_with_other_columns_are_refused(tmp_path: Path) -> None:
    run = sampled_run(tmp_path)
    path = run.folder / "completions.parquet"
    path.write_text("no parquet")
    with pytest.raises(UserError) as caught:
        contents(load(*paths(run)), ())
    assert caught.value.where == str(path)


def test_completions_of_another_evaluation_are_refused(tmp_path: Path) -> None:
    run = sampled_run(tmp_path)
    path = run.folder / "completions.parquet"
    write_completions(path, [("p0002", 0, "1 + 1", 1)])
    with pytest.raises(UserError) as caught:
        contents(load(*paths(run)), ())
    assert caught.value.where == str(path)
    assert "p0002" in caught.value.message


def test_untrusted_text_is_never_markup_in_the_pdf(tmp_path: Path) -> None:
    runs = load(*paths(small_run(tmp_path)))
    table = replace(main_table(groups_of(runs)), headings=(HOSTILE,), rows=((HOSTILE,),))
    sample = Sample(HOSTILE, HOSTILE, (HOSTILE,))
    part = Part("hostile", HOSTILE, (HOSTILE,), (table,), (), (sample,))
    rendered = pdf(Contents(HOSTILE, (HOSTILE,), (part,)), {})
    text = pypdfium2.PdfDocument(rendered)[0].get_textpage().get_text_range()
    flat = "".join(text.split())
    for shown in ("#setpage(fill:red)", '#panic("x")', "$a^2$", "#{1/0}", "<script>", "*bold*"):
        assert shown in flat


def test_what_stands_between_backticks_is_code_in_the_pdf() -> None:
    part = Part("code", "Code", ("run `a --b` now", "one ` stays"), (), (), ())
    rendered = pdf(Contents("Title", ("Abstract",), (part,)), {})
    text = pypdfium2.PdfDocument(rendered)[0].get_textpage().get_text_range()
    flat = " ".join(text.split())
    assert "run a --b now" in flat
    assert "one ` stays" in flat


def test_untrusted_text_is_never_markup_in_tables() -> None:
    cell = "<b>|`*_x_*\n[y](z) $1 % \\q"
    table = Table("t", "T", "", pl.DataFrame(), ("a|b",), ((cell,),), frozenset(), ())
    head, _, row = to_markdown(table).splitlines()
    assert head.strip("| ") == "a\\|b"
    assert row.strip("| ") == "&lt;b>\\|\\`\\*\\_x\\_\\* \\[y\\](z) $1 % \\\\q"
    assert r"\textbackslash{}q" in to_latex(table)
    assert r"\$1 \%" in to_latex(table)


def test_latex_is_a_booktabs_table(tmp_path: Path) -> None:
    text = to_latex(main_table(groups_of(load(*paths(small_run(tmp_path))))))
    row = next(line for line in text.splitlines() if r"datawhale\_r1" in line)
    assert [cell.strip() for cell in row.split("&")][:3] == [
        *(r"datawhale\_r1", r"countdown\_3", "1")
    ]
    assert r"$\to$" in row
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_a_mini_base_and_an_instruct_model_are_told_apart(tmp_path: Path) -> None:
    mini, tuned = small_run(tmp_path / "mini"), small_run(tmp_path / "tuned")
    model = json.loads(tuned.model.read_text())
    settings = {**model["settings"], "is_mini_base": False, "model": "Qwen2.5-3B-Instruct"}
    edit(tuned.model, settings=settings, gpus=2)
    (of_mini,), (of_tuned,) = load(*paths(mini)), load(*paths(tuned))
    assert of_mini.model.flat_settings["dtype"] == "float32"
    assert of_tuned.model.flat_settings["dtype"] == "bfloat16"
    told = "pre-trained, supervised"
    assert told in " ".join(part_of(contents([of_mini], []), "setup").paragraphs)
    assert told not in " ".join(part_of(contents([of_tuned], []), "setup").paragraphs)
    assert "instruction-tuned" in contents([of_tuned], []).title
    assert "instruction-tuned" in contents([of_tuned], []).abstract[0]
    assert "instruction-tuned" not in contents([of_mini], []).title


def test_truncated_completions_are_described_by_what_they_hold(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    path = run.evaluations["countdown_3", 40]
    problems = json.loads(path.read_text())["problems"]
    for place, problem in enumerate(problems):
        problem |= {"truncated": [1, 0], "lenient": [int(place < 7), 0], "repetition": [0.5, 0.0]}
    edit(path, problems=problems)
    text = limits_of(load(*paths(run)))
    assert f"7 of {len(problems)} truncated completions hold a right answer" in text
    assert "50.0 %" in text


@pytest.mark.parametrize(("temperature", "is_said"), [(0.9, True), (1.0, False)])
def test_another_temperature_in_training_is_said(
    tmp_path: Path, temperature: float, is_said: bool
) -> None:
    run = varied(tmp_path, "datawhale_r1", algorithm__temperature=temperature)
    text = " ".join(part_of(contents(load(*paths(run)), ()), "curves").paragraphs)
    assert (f"{temperature:g} (held-out: 1)" in text) == is_said


def test_claims_are_counted_by_their_kind(tmp_path: Path) -> None:
    runs = load(*paths(small_run(tmp_path)))
    verdicts = judge(CLAIMS, runs, Configured.of(CONFIG))
    told = " ".join(contents(runs, verdicts).abstract)
    kinds = Counter(item.claim.kind for item in verdicts)
    assert sum(kinds.values()) == len(verdicts)
    for count in kinds.values():
        assert f"Of {count} " in told
    table, needs = part_of(contents(runs, verdicts), "claims").tables
    behind = [item for item in verdicts if item.setups]
    assert needs.data["seeds_needed"].to_list() == [
        item.settles.seeds if item.settles else None for item in behind
    ]
    assert set(needs.data["seconds"]) == {
        run.model.train_seconds + sum(item.seconds for item in run.suites[0].evaluations)
        for run in runs
    }
    assert dict(Counter(table.data["kind"])) == kinds
    assert str(len(verdicts)) in " ".join(part_of(contents(runs, verdicts), "claims").paragraphs)
