"""Registries: lazy, described from source, and strict about names."""

from __future__ import annotations

import inspect

import pytest

from limbeck.errors import InputError, UnknownNameError
from limbeck.losses._registry import LOSSES
from limbeck.registry import REQUIRED, Registry, argument_docs, imports_allowed


def test_what_is_read_from_source_is_what_python_sees():
    for name in LOSSES:
        told = LOSSES.describe(name)
        seen = inspect.signature(LOSSES[name])
        settings = {p.name: p for p in seen.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY}
        assert list(told.settings) == list(settings), name
        for key, setting in told.settings.items():
            default = settings[key].default
            assert setting.default is (REQUIRED if default is inspect.Parameter.empty else setting.default)
            assert default is inspect.Parameter.empty or setting.default == default, (name, key)
            assert setting.doc, f"{name}: setting {key} is not documented"
        assert told.inputs, name


def test_a_name_can_be_taken_once():
    shapes = Registry("shape")

    def circle(*, radius: float = 1.0):
        """Round."""

    shapes.register(circle)
    with pytest.raises(UnknownNameError, match="'circle' exists already"):
        shapes.register(circle)
    with pytest.raises(UnknownNameError, match="Did you mean 'circle'"):
        shapes["circel"]
    with pytest.raises(TypeError):
        shapes["square"] = circle  # type: ignore[index]


def test_code_from_outside_needs_leave():
    shapes = Registry("shape")
    with pytest.raises(InputError, match="--plugin statistics"):
        shapes["statistics:fmean"]
    with imports_allowed():
        assert shapes["statistics:fmean"]([1, 3]) == 2
        with pytest.raises(UnknownNameError, match="has no 'fmeen'"):
            shapes["statistics:fmeen"]
        with pytest.raises(UnknownNameError, match="cannot import 'no_such_module'"):
            shapes["no_such_module:thing"]
    with pytest.raises(InputError):
        shapes["statistics:fmean"]


def test_prefixes_bind_the_rest_of_the_name():
    from limbeck.models._registry import MODELS

    described = MODELS.describe("timm/resnet18")
    assert "num_classes" in described.settings
    assert described.inputs == ()
    assert "timm/resnet18" in MODELS
    assert "timm/" not in MODELS


def test_argument_docs_read_googles_style():
    doc = "Sum.\n\nArgs:\n    a: first.\n    b (int): second,\n        longer.\n\nReturns:\n    c: no argument.\n"
    assert argument_docs(doc) == {"a": "first.", "b": "second, longer."}


def test_a_loss_with_weights_is_described_by_constructor_and_forward():
    from torch import Tensor, nn

    losses = Registry("loss")

    @losses.register
    class learned(nn.Module):
        """Learned."""

        def __init__(self, *, scale: float = 2.0) -> None:
            super().__init__()

        def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
            return student - teacher

    told = losses.describe("learned")
    assert told.inputs == ("student", "teacher")
    assert told.settings["scale"].default == 2.0
