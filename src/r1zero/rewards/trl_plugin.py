"""The reward functions of one run by name, for `trl grpo`, which takes functions by dotted path.

`R1ZERO_RUN=results/…/run.json trl grpo --config results/…/plan/trl.yaml` trains with the reward
functions and options of that run.
"""

import os
from functools import cache
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.core.files import read_json
from r1zero.core.validation import validate
from r1zero.rewards.build import RewardFunction, RewardFunctions
from r1zero.settings import RunSettings

VARIABLE = "R1ZERO_RUN"


def __getattr__(name: str) -> RewardFunction:
    if name.startswith("__"):
        raise AttributeError(name)
    functions = _functions()
    if name not in functions:
        raise AttributeError(f"the run has no reward function {name}")
    return functions[name]


@cache
def _functions() -> dict[str, RewardFunction]:
    path = os.environ.get(VARIABLE)
    if not path:
        raise UserError("is not set", where=VARIABLE, hint="set it to the run.json of the run")
    run = validate(read_json(Path(path))["settings"], RunSettings, path)
    functions = RewardFunctions.of(run)
    return {reward.name: functions.build(reward) for reward in run.rewards if not reward.model}
