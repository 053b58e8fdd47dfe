"""Whether the installed TRL knows every setting that a plan writes, without importing it."""

import ast
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1zero.core.errors import UserError

# The classes that `trl grpo --config` fills, with those they inherit from.
_CLASSES = {
    "trl": (
        ("trainer/grpo_config.py", "GRPOConfig"),
        ("trainer/base_config.py", "_BaseConfig"),
        ("trainer/model_config.py", "ModelConfig"),
        ("scripts/grpo.py", "GRPOScriptArguments"),
        ("scripts/utils.py", "ScriptArguments"),
    ),
    "transformers": (("training_args.py", "TrainingArguments"),),
}


def check_keys(config: Mapping[str, Any]) -> None:
    """Raise `UserError` if the installed TRL lacks a key of `trl.yaml`.

    Where TRL is not installed, as on a laptop that plans for a cluster, nothing is checked; the
    trainer checks again when it starts.
    """
    fields: set[str] = set()
    for package, classes in _CLASSES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return
        for path, name in classes:
            fields |= _fields(Path(spec.origin).parent / path, name)
    unknown = sorted(set(config) - fields)
    if unknown:
        raise UserError(
            f"the installed TRL knows no {', '.join(unknown)}",
            where="trl.yaml",
            hint="install the versions of requirements.lock",
        )


def _fields(path: Path, name: str) -> set[str]:
    """Annotated names of a class, read from its source."""
    if not path.is_file():
        return set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            }
    return set()
