"""Typed configuration at the boundary: `Config` for stages and parts, `spec_of` for components by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from limbeck.bounds import SAME_KIND
from limbeck.errors import ConfigError, InputError, did_you_mean
from limbeck.registry import Component, Registry, Setting
from limbeck.wording import plain_words


class Config(BaseModel):
    """Base of every configuration: immutable, unknown keys forbidden, documented fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        strict=False,
        allow_inf_nan=False,
        validate_default=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse text and booleans where a number is due; converting them silently would hide a slip."""
        if isinstance(value, str | bool) and info.field_name in cls.model_fields:
            kinds = set(_alternatives(cls.model_fields[info.field_name].annotation))
            if kinds <= {int, float, NoneType}:
                raise PydanticCustomError("float_type" if float in kinds else "int_type", "must be a number")
        return value


def _alternatives(annotation: Any) -> Iterator[Any]:
    """What may stand in a field: the members of its union, without their bounds."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType, Annotated):
        parts = get_args(annotation)
        for part in parts[:1] if origin is Annotated else parts:
            yield from _alternatives(part)
    else:
        yield annotation


class StageConfig(Config):
    """Base of every stage's configuration."""

    OUTPUT: ClassVar[str]
    """The kind of artefact that the stage writes."""
    INPUTS: ClassVar[Mapping[str, str]] = {}
    """Field -> kind of artefact that it refers to."""
    OUTPUT_WITH: ClassVar[Mapping[str, str]] = {}
    """Field -> kind of artefact that the stage writes where the field is true."""
    LATER: ClassVar[Mapping[str, Any]] = {}
    """Field that older runs do not have -> its default, which is not written down, so that they go on."""

    @property
    def output(self) -> str:
        """The kind of artefact that the stage writes with these values."""
        return next((kind for field, kind in self.OUTPUT_WITH.items() if getattr(self, field)), self.OUTPUT)

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        return {k: v for k, v in values.items() if k not in self.LATER or v != self.LATER[k]}

    def cites(self) -> tuple[str, ...]:
        """Keys of the papers that the stage itself stands on, beside those of its components."""
        return ()


class Spec(Config):
    """A component by name with its settings, written `{name: kd, temperature: 4}` or just `kd`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings given, as checked against the component's signature."""
        return dict(self.model_extra or {})


def checked(what: str, kind: Any, value: Any) -> Any:
    """A value as a field of that type would have it.

    Args:
        what: name of the argument, for messages.
        kind: a `Config`, or an annotated type.
        value: as a recipe would have it.

    Raises:
        ConfigError: it does not validate; every problem at once.

    Example:
        >>> checked("steps", int, 3)
        3
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problems = [
            f"{'.'.join([what, *(str(p) for p in problem['loc'])])}: {problem['msg']} (got {problem['input']!r})"
            for problem in error.errors()
        ]
        raise ConfigError.of(f"the argument '{what}'", problems) from error


@dataclass(frozen=True)
class spec_of:
    """Says that a `Spec` names a component of one registry: names, settings, types and bounds are checked.

    Attributes:
        registry: where the names come from.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import TypeAdapter
        >>> shapes = Registry("shape")
        >>> @shapes.register
        ... def circle(*, radius: float = 1.0):
        ...     "Round."
        >>> TypeAdapter(Annotated[Spec, spec_of(shapes)]).validate_python({"name": "circle", "radius": 2}).settings
        {'radius': 2.0}
    """

    registry: Registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Shorthand first, then the fields, then the settings against the signature."""
        checked = core_schema.no_info_after_validator_function(self._check, handler(source))
        return core_schema.no_info_before_validator_function(_from_shorthand, checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """For editors: they complete the names; the settings are checked by `limbeck check`."""
        return _json_schema(self.registry)

    def _check(self, spec: Spec) -> Spec:
        return check_spec(self.registry, spec)


def _from_shorthand(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def check_spec(registry: Registry, spec: Spec) -> Spec:
    """The same spec with settings converted to their annotated types, and defaults filled in.

    A run therefore records every value that it used, and a later release with other defaults notices.

    Raises:
        PydanticCustomError: unknown component or setting, wrong type or value; all settings at once.
    """
    if spec.name not in registry and ":" not in spec.name:
        raise PydanticCustomError("component", "{text}", {"text": registry.unknown(spec.name)})
    try:
        component = registry.describe(spec.name)
    except InputError as error:
        raise PydanticCustomError("component", "{text}", {"text": str(error)}) from error
    problems: dict[str, str] = {}
    checked: dict[str, Any] = {}
    label = f"{registry.kind} '{spec.name}'"
    for name, value in spec.settings.items():
        setting = component.settings.get(name)
        if setting is None and component.open_ended:
            checked[name] = value
        elif setting is None:
            known = ", ".join(component.settings) or "none"
            problems[name] = (
                f"{label} has no setting '{name}'.{did_you_mean(name, component.settings)} It has: {known}."
            )
        else:
            checked[name] = _checked(label, setting, value, problems, registry)
    missing = [s.name for s in component.settings.values() if s.required and s.name not in spec.settings]
    problems |= {name: f"{label} needs the setting '{name}'." for name in missing if name not in SUPPLIED}
    if problems:
        text = " ".join(problems.values())
        raise PydanticCustomError("component", "{text}", {"text": text, "settings": problems})
    return Spec(name=spec.name, **{**_defaults(component), **checked})


def _defaults(component: Component) -> dict[str, Any]:
    plain = (bool, int, float, str, tuple, list, type(None))
    return {
        s.name: s.default
        for s in component.settings.values()
        if s.name not in SUPPLIED and not s.required and isinstance(s.default, plain)
    }


SUPPLIED = frozenset(
    {
        "num_classes",
        "in_channels",
        "student_shape",
        "teacher_shape",
        "student_shapes",
        "teacher_shapes",
        "class_of",
        "split",
        "image_shape",
        "classes",
    }
)
"""Settings that a stage fills in from the data or from another model, so a recipe need not give them."""


def _checked(label: str, setting: Setting, value: Any, problems: dict[str, str], registry: Registry) -> Any:
    try:
        if _holds_component(setting.annotation):
            return _nested(registry, value)
        if any(map(_holds_component, get_args(setting.annotation))) and isinstance(value, list | tuple):
            return [_nested(registry, part) for part in value]
        # Strict where a silent conversion would hide a slip ("4" for 4); ints still pass as floats.
        adapter: TypeAdapter[Any] = TypeAdapter(setting.annotation, config=ConfigDict(allow_inf_nan=False))
        return adapter.validate_python(value, strict=isinstance(value, str | bool))
    except ValidationError as error:
        said = " or ".join(dict.fromkeys(plain_words(problem) for problem in error.errors()))
        problems[setting.name] = f"{label}, setting '{setting.name}' {said} (got {value!r})."
        return value
    except PydanticCustomError as error:
        problems[setting.name] = f"{label}, setting '{setting.name}': {error}"
        return value


def _holds_component(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated and SAME_KIND in annotation.__metadata__


def _nested(registry: Registry, value: Any) -> dict[str, Any]:
    """A component inside another, with its own settings checked and its defaults filled in."""
    found = _from_shorthand(value)
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
        text = f"a {registry.kind} by name, or a mapping with a name and settings, is due (got {value!r})."
        raise PydanticCustomError("component", "{text}", {"text": text})
    spec = check_spec(registry, Spec(**found))
    return {"name": spec.name, **spec.settings}


def _json_schema(registry: Registry) -> dict[str, Any]:
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
