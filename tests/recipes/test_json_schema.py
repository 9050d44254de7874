"""The JSON Schema for editors is fresh and accepts what is right."""

from __future__ import annotations

import json
import re
import runpy

import jsonschema
import pytest
import yaml

from limbeck.recipes import catalogue


@pytest.fixture(scope="module")
def validator(root):
    schema = json.loads((root / "schemas" / "recipe.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_file_in_the_tree_is_what_the_code_says(root):
    fresh = runpy.run_path(str(root / "schemas" / "generate.py"))["text"]()
    assert (root / "schemas" / "recipe.schema.json").read_text() == fresh, "run: python schemas/generate.py"


@pytest.mark.parametrize("name", catalogue.names())
def test_shipped_recipes_conform(validator, name):
    assert not list(validator.iter_errors(yaml.safe_load(catalogue.read(name)[1])))


@pytest.mark.parametrize(
    "change",
    [{"kind": "classify.trian"}, {"epoch": 3}, {"train": {"epochs": 0}}, {"train": {"precision": "fp8"}}],
)
def test_mistakes_are_underlined(validator, change):
    stage = {"kind": "classify.train", "source": "digits", "model": "resnet8"}
    assert validator.is_valid({"stages": {"t": stage}})
    assert not validator.is_valid({"stages": {"t": {**stage, **change}}})


def test_every_reference_leads_somewhere(root):
    text = (root / "schemas" / "recipe.schema.json").read_text()
    assert set(re.findall(r'"#/\$defs/([^"]+)"', text)) <= set(json.loads(text)["$defs"])


def test_the_schema_of_audits_is_what_the_code_says(root):
    fresh = runpy.run_path(str(root / "schemas" / "generate.py"))["audit_text"]()
    file = root / "schemas" / "audit.schema.json"
    assert file.read_text() == fresh, "run: python schemas/generate.py"
    jsonschema.Draft202012Validator.check_schema(json.loads(fresh))
