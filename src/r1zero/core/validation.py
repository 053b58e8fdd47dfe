"""Read YAML and check values against pydantic models, with errors that name file and key."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from r1zero.core.errors import UserError, redact

Model = TypeVar("Model", bound=BaseModel)

# libyaml reads the same values ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; a missing, unreadable or broken one is an error that names it."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506
    except FileNotFoundError:
        raise UserError("no such file", where=str(path)) from None
    except OSError as error:
        raise UserError(error.strerror or str(error), where=str(path)) from None
    except UnicodeDecodeError:
        raise UserError("not text in UTF-8", where=str(path)) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2025-13-01, which is no date
        reason = " ".join(str(error).split())
        raise UserError(f"not valid YAML: {reason}", where=str(path)) from None


def validate(values: Any, model: type[Model], where: str) -> Model:
    """Check `values` against a model; the first problem becomes one line that names its key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _as_user_error(error, model, where) from None


def _as_user_error(error: ValidationError, model: type[BaseModel], where: str) -> UserError:
    problems = error.errors()
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"]) or "(top level)"
    if first["type"] == "extra_forbidden":
        message = f"unknown key '{key}'"
        hint = _known_keys(model, first["loc"][:-1])
    else:
        message = f"{key}: {first['msg'].removeprefix('Value error, ')}"
        shown = redact(repr(first["input"]))
        hint = f"got {shown}" if len(shown) < 80 and first["type"] != "missing" else ""
    if len(problems) > 1:
        hint += f"{'; ' if hint else ''}and {len(problems) - 1} more"
    return UserError(message, where=where, hint=hint)


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Name the keys that exist where an unknown one was found, as far as the types tell."""
    current: Any = model
    for part in location:
        field = getattr(current, "model_fields", {}).get(part)
        if field is None or not isinstance(field.annotation, type):
            return ""
        current = field.annotation
    fields = getattr(current, "model_fields", {})
    return f"known: {', '.join(fields)}" if fields else ""
