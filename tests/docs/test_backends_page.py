"""The tables of `docs/backends.md` are what the backends answer."""

import re
from pathlib import Path

import pytest

from r1zero.core.errors import UserError
from r1zero.docs.backends import Answer, answers_of, probes, tables, with_tables
from r1zero.plan.backend import load_backend
from r1zero.settings import RunSettings, resolve_run
from r1zero.settings.backends import BACKENDS
from r1zero.settings.recipe import Algorithm, Sizes
from tiny import CONFIG


def cells(text: str) -> dict[str, dict[str, str]]:
    """Cells of the table of settings, by setting and backend."""
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \|$", text, flags=re.M)
    return {key: dict(zip(BACKENDS, cell.split(" | "), strict=True)) for key, cell in rows}


def test_every_setting_has_a_row_and_a_value_that_is_not_the_default() -> None:
    keys = {f"algorithm.{name}" for name in Algorithm.model_fields}
    keys |= {f"sizes.{name}" for name in Sizes.model_fields}
    assert keys <= cells(tables()).keys()
    assert {probe.key for probe in probes()} == cells(tables()).keys()


def test_a_backend_that_refuses_a_value_says_so_in_its_cell() -> None:
    found = cells(tables())
    assert found["algorithm.zero_variance_groups"]["trl"] == "honoured"
    assert re.match(
        r"refused: `drop` or `resample` \(\d+\)$", found["algorithm.zero_variance_groups"]["swift"]
    )
    assert found["algorithm.max_resamples"]["swift"] == "–"
    # Only with another setting.
    masked = found["algorithm.mask_truncated_completions"]["swift"]
    assert re.match(r"refused: `true` with `loss_type` `dapo` \(\d+\)$", masked)
    assert found["algorithm.beta"]["swift"].startswith("different (")


def told(backend: str, run: RunSettings) -> set[Answer]:
    """What a run is told."""
    try:
        load_backend(backend).check(run)
    except UserError as error:
        return {Answer((error.where or "").partition(": ")[2], "refused", error.message)}
    found = load_backend(backend).differences(run)
    return {Answer(key, "different", reason) for key, reason in found.items()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_recipe_is_told_is_in_the_table(backend: str) -> None:
    known = answers_of(backend)
    for vary in ({}, {"algorithm.loss_type": "bnpo"}, {"algorithm.zero_variance_groups": "drop"}):
        run = resolve_run(
            "datawhale_r1", scale="mini", backend=backend, seed=0, vary=vary, folder=CONFIG
        )
        assert told(backend, run) <= known.keys()


def test_a_page_without_its_marks_is_an_error() -> None:
    with pytest.raises(UserError) as raised:
        with_tables("# Backends\n")
    assert Path(raised.value.where).name == "backends.md"
