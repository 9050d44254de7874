"""Terms bound to a pair of networks: taps found, projectors sized, costs computed; or one clear error."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from limbeck.classify.config import Term, Terms
from limbeck.classify.methods import METHODS
from limbeck.classify.terms import bind
from limbeck.errors import ConfigError, ShapeError, TapError


def terms(value):
    return TypeAdapter(Terms).validate_python(value)


@pytest.mark.parametrize("method", METHODS)
def test_every_published_method_binds_to_a_pair_it_never_saw(pair, method):
    if "head" in METHODS[method]:
        pytest.skip("its taps are those of the head, which test_simkd.py builds")
    bound = bind(terms(method), pair)
    assert len(bound) == len(METHODS[method]["terms"])  # there is a single stage in so tiny a net
    for term in bound:
        assert "cost" not in term.inputs or term.constants["cost"].shape == (10, 10)
        if term.name in ("hint", "wkd_feature"):
            assert (term.student_taps, term.teacher_taps) == (("relu",), ("relu",))
            assert term.projector is not None
        if term.name == "direction_alignment":
            assert (term.student_taps, term.teacher_taps) == (("fc:input",), ("fc:input",))
            assert term.projector is not None


def test_projectors_are_sized_by_the_probe(pair):
    (term,) = bind(terms([{"loss": "hint", "projector": "conv", "taps": "conv"}]), pair)
    assert term.projector(torch.zeros(2, 4, 8, 8)).shape == (2, 6, 8, 8)


def test_logit_losses_can_read_taps_too(pair):
    (term,) = bind(terms([{"loss": "kd", "taps": {"student": "fc", "teacher": "fc"}}]), pair)
    assert (term.student_taps, term.teacher_taps, term.projector) == (("fc",), ("fc",), None)


def test_two_terms_of_one_loss_get_two_names(pair):
    bound = bind(terms([{"loss": "kd"}, {"loss": {"name": "kd", "temperature": 1}}]), pair)
    assert [t.name for t in bound] == ["kd", "kd-2"]


@pytest.mark.parametrize("cost", [{"name": "prototypes", "kappa": 2}, {"name": "cka", "rows": 8}])
def test_class_costs_come_from_the_teacher(pair, cost):
    (term,) = bind(terms([{"loss": "wkd_transport", "cost": cost}]), pair)
    found = term.constants["cost"]
    assert torch.allclose(found, found.T, atol=1e-5)
    assert float(found.min()) >= -1e-6  # rounding on the diagonal; the loss clamps it
    assert float(found.diagonal().max()) < 1e-4 < float(found.max()) <= 1


def test_a_cost_of_ones_own(pair, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "cost.safetensors"
    save_file({"cost": 1 - torch.eye(10)}, path)
    (term,) = bind(terms([{"loss": "wkd_transport", "cost": {"name": "file", "path": str(path)}}]), pair)
    assert torch.equal(term.constants["cost"], 1 - torch.eye(10))


@pytest.mark.parametrize(
    ("term", "error", "message"),
    [
        ({"loss": "hint", "taps": "relo"}, TapError, "Did you mean 'relu'"),
        ({"loss": "hint", "taps": "*"}, TapError, "matches 5 modules"),
        ({"loss": "kd", "cost": "prototypes"}, ConfigError, "takes no class cost"),
        ({"loss": "hint", "taps": "fc", "projector": "conv"}, ShapeError, "needs feature maps"),
        ({"loss": "direction_alignment", "taps": "relu", "projector": "ensemble"}, ShapeError, "needs vectors"),
    ],
)
def test_what_makes_no_sense_is_refused_before_training(pair, term, error, message):
    with pytest.raises(error, match=message.replace("*", r"\*")):
        bind(terms([term]), pair)


def test_features_without_a_teacher_are_refused(pair):
    alone = replace(pair, teachers={}, teacher_images={})
    with pytest.raises(ConfigError, match="there is none"):
        bind(terms("wkd_f"), alone)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("kdd", "Did you mean 'kd'"),
        ([], "at least one term"),
        ([{"loss": {"name": "kd", "temprature": 4}}], "Did you mean 'temperature'"),
        ([{"loss": {"name": "kd", "temperature": -4}}], "greater than 0"),
        ([{"loss": {"name": "kd", "temperature": "4"}}], "must be a number"),
        ([{"loss": "kd", "weight": 0}], "greater than 0"),
        ([{"loss": "kd", "projector": "convv"}], "conv"),
    ],
)
def test_wrong_terms_are_explained(value, message):
    with pytest.raises(ValidationError, match=message):
        terms(value)


def test_term_defaults_say_what_they_are():
    term = Term.model_validate({"loss": "kd"})
    assert (term.weight, term.taps, term.projector, term.decay) == (1.0, None, "auto", None)
