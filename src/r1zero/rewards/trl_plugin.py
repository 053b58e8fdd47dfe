"""The reward terms of one run by name, for `trl grpo`, which takes functions by dotted path.

`R1ZERO_RUN=results/…/run.json trl grpo --config results/…/plan/trl.yaml` trains with the terms and
the options of that run.
"""

import os
from functools import cache
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.core.files import read_json
from r1zero.rewards.build import RewardFunction, RewardFunctions
from r1zero.settings import RunSettings
from r1zero.settings.load import validate

VARIABLE = "R1ZERO_RUN"


def __getattr__(name: str) -> RewardFunction:
    if name.startswith("__"):
        raise AttributeError(name)
    terms = _terms()
    if name not in terms:
        raise AttributeError(f"the run has no reward term {name}")
    return terms[name]


@cache
def _terms() -> dict[str, RewardFunction]:
    path = os.environ.get(VARIABLE)
    if not path:
        raise UserError("is not set", where=VARIABLE, hint="it names the run.json of the run")
    run = validate(read_json(Path(path))["settings"], RunSettings, path)
    terms = RewardFunctions.of(run)
    return {reward.name: terms.build(reward) for reward in run.rewards if not reward.model}
