"""What the report says of one recipe on several backends, on planted runs."""

from collections.abc import Sequence

import numpy as np
import pytest

from planted import binary, run
from r1zero.report.paper import figures
from r1zero.report.paper.document import Table
from r1zero.report.paper.tables.agreement import MARGIN, backends_table, runs_table
from r1zero.report.results.inputs import RunResults
from r1zero.report.statistics.measures import groups_of

STEPS = (0, 20, 40)


def runs_on(backend: str, rate: float, n_seeds: int, n_samples: int = 4) -> list[RunResults]:
    """Seeds of one backend that end at a rate."""
    found = []
    for seed in range(n_seeds):
        place = 100 * len(backend) + 10 * ord(backend[0]) + seed
        outcomes = {
            step: {
                "correct": binary(
                    0.3 + (rate - 0.3) * step / STEPS[-1], place + step, 300, n_samples
                ),
                "length": np.full((300, n_samples), 50.0 + step + seed),
            }
            for step in STEPS
        }
        logged = {"reward": np.linspace(0, 1, 40), "kl": np.linspace(0, 0.2, 40)}
        found.append(run(seed=seed, backend=backend, steps=outcomes, training=logged))
    return found


def table(runs: Sequence[RunResults]) -> Table:
    found = backends_table(groups_of(runs))
    assert found is not None
    return found


def test_three_equal_backends_agree() -> None:
    runs = [each for name in ("split", "swift", "trl") for each in runs_on(name, 0.5, 10)]
    found = table(runs)
    assert found.data["verdict"].to_list() == ["they agree"] * 3
    assert (found.data["delta_low"] > -MARGIN).all()
    assert (found.data["p_equivalence"] < 0.025).all()


def test_the_backend_that_differs_is_found() -> None:
    runs = [*runs_on("split", 0.5, 6), *runs_on("swift", 0.6, 6), *runs_on("trl", 0.5, 6)]
    data = table(runs).data
    found = dict(zip(data.select("first", "second").rows(), data["verdict"], strict=True))
    assert found["split", "swift"] == found["swift", "trl"] == "they differ"
    assert found["split", "trl"] != "they differ"


def test_few_seeds_leave_it_open_and_say_how_many_would_do() -> None:
    runs = [each for name in ("swift", "trl") for each in runs_on(name, 0.5, 3, n_samples=1)]
    found = table(runs)
    assert found.data["verdict"].to_list() == ["not settled"]
    needed = found.data["seeds_needed"][0]
    assert needed > 3
    assert f"{needed} seeds" in found.rows[0][-1]


def test_every_run_has_a_row_and_every_evaluated_step_a_number() -> None:
    runs = [*runs_on("swift", 0.5, 2), *runs_on("trl", 0.5, 2)]
    found = runs_table(groups_of(runs))
    assert [row[1:3] for row in found.rows] == [
        (name, str(seed)) for name in ("swift", "trl") for seed in range(2)
    ]
    assert found.data["step"].to_list() == [*STEPS] * 4
    one = found.data.filter((found.data["backend"] == "trl") & (found.data["seed"] == 0))
    assert one["length"].to_list() == [50.0, 70.0, 90.0]  # of seed 0
    logged = np.linspace(0, 0.2, 40)
    assert one["kl"][0] is None
    assert one["kl"][1:].to_list() == pytest.approx(
        [logged[:20].mean(), logged[20:].mean()], abs=1e-6
    )


def test_the_figure_has_accuracy_length_kl_and_reward_of_each_backend() -> None:
    runs = [*runs_on("swift", 0.5, 2), *runs_on("trl", 0.5, 2)]
    drawn = figures.agreement(groups_of(runs)).to_dict()
    titles = [panel["title"]["text"] for panel in drawn["vconcat"][0]["concat"]]
    assert len(titles) == 4
    assert str(drawn).count("'domain': ['swift', 'trl']") >= 4
