"""The configuration reference as Markdown, generated from the settings."""

import json
from typing import Any

from r1zero.settings.schema import FILES, file_schema

_HEAD = """\
# Configuration reference

Every key of the configuration files. This page is generated from the settings by
`python -m r1zero schema`; [config/README.md](../config/README.md) shows how to use them. A recipe
that `extends` another may leave out every key but `description`.
"""
# Where each kind of file is; a kind that is not listed is named after itself.
_PATHS = {"recipe": "recipes/<recipe>.yaml", "scale": "scales/<scale>.yaml"}
_FIRST = ("config", "recipe", "scale", "sources")


def reference() -> str:
    """A page with one table for each file and for each section within the files.

    A section that several files share has one table, in the first file that has it.
    """
    order = [*(kind for kind in _FIRST if kind in FILES), *sorted(set(FILES) - set(_FIRST))]
    parts, shown = [_HEAD], set[str]()
    for kind in order:
        schema = file_schema(kind)
        path = _PATHS.get(kind, f"{kind}.yaml")
        parts.append(f"## `config/{path}`\n\n{_table(schema)}")
        for name, section in schema.get("$defs", {}).items():
            if name not in shown and section.get("properties"):
                shown.add(name)
                parts.append(f"### {name}\n\n{_table(section)}")
    return "\n".join(parts)


def _table(section: dict[str, Any]) -> str:
    lines = [
        _flat(section.get("description", "")),
        "",
        "| key | type | default | description |",
        "|---|---|---|---|",
    ]
    required = section.get("required", [])
    for key, value in section["properties"].items():
        default = "required" if key in required else _default(value)
        cells = (f"`{key}`", _type(value), default, _flat(value.get("description", "")))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines).lstrip("\n") + "\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default in (None, [], {}):
        return "none"
    if isinstance(default, dict):  # a section, whose own table has its defaults
        return ""
    if isinstance(default, list) and isinstance(default[0], dict):
        return f"{len(default)} entries"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _type(value: dict[str, Any]) -> str:
    """What a JSON schema accepts, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    choices = value.get("enum") or ([value["const"]] if "const" in value else [])
    if choices:
        return _either([f"`{choice}`" for choice in choices])
    options = value.get("anyOf") or value.get("oneOf")
    if options:
        return _either([_type(option) for option in options if option.get("type") != "null"])
    return _simple_type(value)


def _simple_type(value: dict[str, Any]) -> str:
    match value.get("type"):
        case "array":
            least = ", at least one" if value.get("minItems") == 1 else ""
            items = value.get("prefixItems")
            inner = f"{len(items)} × {_type(items[0])}" if items else _type(value.get("items", {}))
            return f"list of {inner}{least}"
        case "object":
            additional = value.get("additionalProperties")
            values = [*value.get("patternProperties", {}).values(), additional]
            return f"mapping of names to {_type(values[0])}" if values[0] else "mapping"
        case "integer" | "number" as kind:
            return f"{kind} {_bounds(value)}".rstrip()
    words = {"boolean": "`true` or `false`", "string": "text"}
    return (
        "path" if value.get("format") == "path" else words.get(value.get("type", ""), "any value")
    )


def _bounds(value: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return " and ".join(f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value)


def _either(options: list[str]) -> str:
    options = list(dict.fromkeys(options))
    return " or ".join(filter(None, (", ".join(options[:-1]), options[-1])))
