from dataclasses import replace

import pytest

from limbeck.audit.asking import ask
from limbeck.audit.config import STANDARD
from limbeck.audit.questions._registry import NEEDS_GRADIENTS, QUESTIONS
from limbeck.audit.subjects import Network, Panel
from limbeck.errors import ConfigError, DataError
from limbeck.models.onnx_classifier import OnnxClassifier
from limbeck.specs import Spec, check_spec


def plain(*names):
    return [check_spec(QUESTIONS, Spec(name=name)) for name in names]


@pytest.fixture
def quick(monkeypatch):
    """Every question answers at once; `representations` refuses."""
    from limbeck.audit.evidence import Answer

    def refuses(exam, **settings):
        raise DataError("too few images")

    registered = {name: (lambda exam, **_: Answer()) for name in QUESTIONS} | {"representations": refuses}
    monkeypatch.setattr(type(QUESTIONS), "__getitem__", lambda self, name: registered[name])


@pytest.fixture
def blind(examined):
    """One student that has no gradients."""
    exam = examined(count=20)

    class Blind(OnnxClassifier):
        def __init__(self, net):
            super(OnnxClassifier, self).__init__()
            self.net = net

        def forward(self, images):
            return self.net(images)

    first = exam.panel.students[0]
    student = replace(first, network=Network(Blind(first.network.model), first.network.data))
    return replace(exam, panel=Panel(exam.panel.teacher, (student,), exam.panel.controls))


def test_a_standard_question_that_cannot_be_asked_is_left_out(quick, examined):
    exam = examined(count=20)
    answers, skipped = ask(exam, plain(*STANDARD))
    assert skipped == {"representations": "too few images"}
    assert set(answers) == set(STANDARD) - {"representations"}
    # More questions beside the standard ones do not change that.
    answers, skipped = ask(exam, plain(*STANDARD, "barrier"))
    assert skipped == {"representations": "too few images"}
    assert "barrier" in answers


def test_a_question_that_was_asked_for_is_not_left_out(quick, examined):
    with pytest.raises(DataError, match="too few images"):
        ask(examined(count=20), plain("fidelity", "representations"))
    # Settings of one's own are asking by name, too.
    own = [replace_settings(one, batch=7) if one.name == "representations" else one for one in plain(*STANDARD)]
    with pytest.raises(DataError, match="too few images"):
        ask(examined(count=20), own)


def replace_settings(spec, **settings):
    return check_spec(QUESTIONS, Spec(name=spec.name, **{**spec.settings, **settings}))


def test_networks_without_gradients(quick, blind):
    answers, skipped = ask(blind, plain(*STANDARD))
    assert set(skipped) == {*(NEEDS_GRADIENTS & set(STANDARD)), "representations"}
    assert "same-s0 can be asked for predictions alone" in skipped["localisation"]
    assert "fidelity" in answers
    with pytest.raises(ConfigError, match=r"'gradients' cannot be asked: same-s0 .*\(an ONNX file\)"):
        ask(blind, plain("gradients"))


def test_damaged_weights_are_told_whatever_is_asked(examined):
    exam = examined(count=20)
    exam.panel.controls[0].network.model.fc.bias.fill_(float("nan"))
    with pytest.raises(DataError, match="control-s0 puts out logits"):
        ask(exam, plain(*STANDARD))
