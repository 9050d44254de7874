"""Typed configuration at the boundary: `Config` for stages and parts, `spec_of` for components by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from limbeck.errors import InputError, did_you_mean
from limbeck.registry import Registry, Setting


class Config(BaseModel):
    """Base of every configuration: immutable, unknown keys forbidden, documented fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=False)


class StageConfig(Config):
    """Base of every stage's configuration."""

    OUTPUT: ClassVar[str]
    """The kind of artefact that the stage writes."""
    INPUTS: ClassVar[Mapping[str, str]] = {}
    """Field -> kind of artefact that it refers to."""


class Spec(Config):
    """A component by name with its settings, written `{name: kd, temperature: 4}` or just `kd`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings given, as checked against the component's signature."""
        return dict(self.model_extra or {})


def spec_of(registry: Registry) -> Any:
    """A pydantic type for components of one registry: names, setting names, types and bounds are checked.

    Args:
        registry: where the names come from.

    Returns:
        An annotated `Spec` for use as a field's type.
    """

    def from_shorthand(value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def check(spec: Spec) -> Spec:
        return check_spec(registry, spec)

    return Annotated[
        Spec,
        AfterValidator(check),
        BeforeValidator(from_shorthand),
        WithJsonSchema(_json_schema(registry)),
    ]


def check_spec(registry: Registry, spec: Spec) -> Spec:
    """The same spec with settings converted to their annotated types.

    Raises:
        PydanticCustomError: unknown component or setting, wrong type or value; all settings at once.
    """
    if spec.name not in registry and ":" not in spec.name:
        raise PydanticCustomError("component", "{text}", {"text": registry.unknown(spec.name)})
    try:
        component = registry.describe(spec.name)
    except InputError as error:
        raise PydanticCustomError("component", "{text}", {"text": str(error)}) from error
    problems: list[str] = []
    checked: dict[str, Any] = {}
    label = f"{registry.kind} '{spec.name}'"
    for name, value in spec.settings.items():
        setting = component.settings.get(name)
        if setting is None and component.open_ended:
            checked[name] = value
        elif setting is None:
            known = ", ".join(component.settings) or "none"
            problems.append(
                f"{label} has no setting '{name}'.{did_you_mean(name, component.settings)} It has: {known}."
            )
        else:
            checked[name] = _checked(label, setting, value, problems)
    missing = [s.name for s in component.settings.values() if s.required and s.name not in spec.settings]
    problems += [f"{label} needs the setting '{name}'." for name in missing if name not in SUPPLIED]
    if problems:
        raise PydanticCustomError("component", "{text}", {"text": " ".join(problems)})
    return Spec(name=spec.name, **checked)


SUPPLIED = frozenset({"num_classes", "in_channels", "student_shape", "teacher_shape"})
"""Settings that a stage fills in from the data or from another model, so a recipe need not give them."""


def _checked(label: str, setting: Setting, value: Any, problems: list[str]) -> Any:
    try:
        # Strict where a silent conversion would hide a slip ("4" for 4); ints still pass as floats.
        return TypeAdapter(setting.annotation).validate_python(value, strict=isinstance(value, str | bool))
    except ValidationError as error:
        for problem in error.errors():
            problems.append(f"{label}, setting '{setting.name}': {problem['msg'].lower()} (got {value!r}).")
        return value


def _json_schema(registry: Registry) -> dict[str, Any]:
    """Editors complete the names; the settings themselves are checked by `limbeck check`."""
    return {
        "anyOf": [
            {"type": "string", "examples": list(registry)},
            {
                "type": "object",
                "properties": {"name": {"type": "string", "examples": list(registry)}},
                "required": ["name"],
            },
        ],
        "description": f"A {registry.kind} by name, with its settings.",
    }
