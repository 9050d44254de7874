"""The JSON Schemas of recipes, for editors, and of `audit.json`, for programs that read it.

`python schemas/generate.py` writes them beside itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from limbeck.audit.record import AuditRecord
from limbeck.classify.methods import METHODS
from limbeck.recipes.kinds import STAGES

FILE = Path(__file__).with_name("recipe.schema.json")
AUDIT_FILE = Path(__file__).with_name("audit.schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
STAGE_NAME = "^[a-z][a-z0-9_-]{0,40}$"


def recipe_schema() -> dict[str, Any]:
    """The schema of a recipe with the stages that exist; `limbeck check` knows more."""
    models = {kind: parts.config_class() for kind, parts in STAGES.items()}
    references, shared = models_json_schema([(model, "validation") for model in models.values()])
    _take_shorthand(shared["$defs"])
    chosen = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": references[(model, "validation")],
        }
        for kind, model in models.items()
    ]
    stage = {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(models)}},
        "allOf": chosen,
    }
    return {
        "$schema": DIALECT,
        "title": "Limbeck recipe",
        "type": "object",
        "required": ["stages"],
        "additionalProperties": False,
        "properties": {
            "title": {"type": "string", "description": "One line; the heading of the report."},
            "seed": {"type": "integer", "minimum": 0, "default": 0, "description": "Of everything that is drawn."},
            "stages": {
                "type": "object",
                "description": "The steps, by name, in order.",
                "minProperties": 1,
                "propertyNames": {"pattern": STAGE_NAME},
                "additionalProperties": stage,
            },
            "variants": {
                "type": "object",
                "description": "Values laid over the stages by --variant NAME, by name.",
                "propertyNames": {"pattern": STAGE_NAME},
                "additionalProperties": {"type": "object", "additionalProperties": {"type": "object"}},
            },
            "smoke": {
                "type": "object",
                "description": "Values laid over the stages by --smoke: two steps, to see the recipe run.",
                "additionalProperties": {"type": "object"},
            },
        },
        "$defs": shared["$defs"],
    }


def _take_shorthand(definitions: dict[str, Any]) -> None:
    """An objective may be a method's name or a list of terms, which its validator accepts and its schema omits."""
    # Detection has terms of its own, so that each goes by the name of its module too.
    name = next(one for one in definitions if one == "Term" or one.endswith("classify__config__Term"))
    term = {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}
    definitions["Objective"] = {"anyOf": [definitions["Objective"], {"enum": list(METHODS)}, term]}


def audit_schema() -> dict[str, Any]:
    """The schema of the file that an audit leaves behind."""
    return {"$schema": DIALECT, **AuditRecord.model_json_schema(), "title": "Limbeck audit"}


def text() -> str:
    """The schema of recipes as the file holds it."""
    return _written(recipe_schema())


def audit_text() -> str:
    """The schema of `audit.json` as the file holds it."""
    return _written(audit_schema())


def _written(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    AUDIT_FILE.write_text(audit_text(), encoding="utf-8")
