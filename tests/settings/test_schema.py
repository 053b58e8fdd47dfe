"""config/schema/ says what the settings accept."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from r1zero.settings import recipe_names
from r1zero.settings.reference import reference
from r1zero.settings.schema import schemas
from tiny import CONFIG, stage

FILES = {
    "config": [CONFIG / "config.yaml"],
    "recipe": sorted((CONFIG / "recipes").glob("*.yaml")),
    "scale": sorted((CONFIG / "scales").glob("*.yaml")),
    "sources": [CONFIG / "sources.yaml"],
}
KINDS_AND_FILES = [(kind, path) for kind, paths in FILES.items() for path in paths]


def test_schemas_and_reference_on_disk_are_those_of_the_settings(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    backends = tmp_path / "backends.md"
    shutil.copy(CONFIG.parent / "docs" / "backends.md", backends)
    options = ("--out", tmp_path / "schema", "--reference", page, "--backends", backends)
    stage("schema", *options)
    wanted = {path.name: path.read_text() for path in (tmp_path / "schema").iterdir()}
    found = {path.name: path.read_text() for path in (CONFIG / "schema").iterdir()}
    assert found == wanted, "settings changed: run `python -m r1zero schema`"
    assert wanted.keys() == {f"{kind}.schema.json" for kind in FILES}
    on_disk = (CONFIG.parent / "docs" / "configuration.md").read_text()
    assert on_disk == page.read_text(), "settings changed: run `python -m r1zero schema`"
    of_backends = (CONFIG.parent / "docs" / "backends.md").read_text()
    assert of_backends == backends.read_text(), "backends changed: run `python -m r1zero schema`"


def test_the_reference_has_every_key_and_its_links_resolve() -> None:
    page = reference()
    assert set(re.findall(r"\(#(\w+)\)", page)) <= {
        name.lower() for name in re.findall("^### (.+)$", page, re.MULTILINE)
    }
    for schema in schemas().values():
        for model in [schema, *schema.get("$defs", {}).values()]:
            for key in model.get("properties", {}):
                assert f"\n| `{key}` | " in page or key == "extends", key


@pytest.mark.parametrize("kind", FILES)
def test_each_schema_is_one(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas()[kind])


@pytest.mark.parametrize(("kind", "path"), KINDS_AND_FILES, ids=lambda value: Path(value).name)
def test_shipped_files_satisfy_their_schema(kind: str, path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), schemas()[kind])


@pytest.mark.parametrize(("kind", "path"), KINDS_AND_FILES, ids=lambda value: Path(value).name)
def test_an_unknown_key_breaks_every_schema(kind: str, path: Path) -> None:
    content = {**yaml.safe_load(path.read_text()), "hidden_sise": 1}
    with pytest.raises(jsonschema.ValidationError) as raised:
        jsonschema.validate(content, schemas()[kind])
    assert "hidden_sise" in raised.value.message


@pytest.mark.parametrize("kind", FILES)
def test_every_key_is_described(kind: str) -> None:
    schema = schemas()[kind]
    for model in [schema, *schema.get("$defs", {}).values()]:
        for key, value in model.get("properties", {}).items():
            assert described(value, schema), f"{model['title']}.{key} has no description"


def described(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Whether a property says what it is: itself, or the section it refers to."""
    target = schema["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else {}
    return bool(value.get("description") or target.get("description"))


def test_the_examples_of_the_how_to_are_valid() -> None:
    text = (CONFIG / "README.md").read_text()
    examples = list(map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)))
    assert len(examples) >= 6
    for example in examples:
        jsonschema.validate(example, schemas()["recipe" if "extends" in example else "config"])


def test_the_config_file_points_editors_to_its_schema() -> None:
    first = (CONFIG / "config.yaml").read_text().splitlines()[0]
    named = CONFIG / first.rpartition("$schema=")[2]
    assert json.loads(named.read_text())["title"] == "Config"


def test_there_are_recipes_to_check() -> None:
    assert [path.stem for path in FILES["recipe"]] == recipe_names(CONFIG) != []
