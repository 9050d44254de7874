import pytest
from pydantic import ValidationError

from limbeck.audit.config import STANDARD, STANDARD_OF_DETECTORS, CompareStage, DetectorsStage
from limbeck.audit.detectors._registry import DETECTOR_QUESTIONS
from limbeck.audit.questions._registry import NEEDS_GRADIENTS, QUESTIONS

RIGHT = {"teacher": "t", "students": {"kd-s0": "a"}, "controls": {"control-s0": "c"}, "source": "digits"}


def test_the_shortest_stage_asks_the_standard_questions():
    stage = CompareStage.model_validate(RIGHT)
    assert tuple(question.name for question in stage.questions) == STANDARD
    assert stage.cites() == ("ojha2023knowledge",)
    # Whatever a run depends on is recorded, the defaults of the questions among it.
    assert dict(stage.questions[0].settings) == {"images": None, "top_k": 5}


def test_one_student_or_control_needs_no_name():
    stage = CompareStage.model_validate({**RIGHT, "students": "file", "controls": {"name": "resnet8"}})
    assert list(stage.students) == ["student"]
    assert list(stage.controls) == ["control"]


def test_every_question_exists_and_describes_itself():
    assert set(STANDARD) <= set(QUESTIONS)
    assert set(QUESTIONS) >= NEEDS_GRADIENTS
    assert set(STANDARD_OF_DETECTORS) <= set(DETECTOR_QUESTIONS)
    for registry in (QUESTIONS, DETECTOR_QUESTIONS):
        for name in registry:
            assert registry.describe(name).summary


WRONG = [
    ({"students": {}}, "whom to audit"),
    ({"students": {"teacher": "a"}}, "'teacher' is no name of a student"),
    ({"students": {"a/b": "a"}}, "'a/b' is no name of a student"),
    ({"questions": []}, "at least 1 item"),
    ({"questions": ["fidelity", {"name": "fidelity", "top_k": 3}]}, "'fidelity' is asked twice"),
    ({"questions": ["domains"]}, "'domains' needs domains"),
    ({"source": {"name": "digits", "split": "train"}}, "'split' is said beside it"),
    ({"domains": {"x": {"name": "digits", "split": "train"}}}, "'split' is said beside it"),
    ({"statistics": {"alpha": 0.7}}, "less than 0.5"),
    ({"statistics": {"correction": "bonferoni"}}, "holm"),
    ({"placebo_questions": ["colur"]}, "'colur' is not asked. Did you mean 'colour'"),
    ({"images": 0}, "greater than"),
    ({"quesions": []}, "Extra inputs"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_is_refused(change, says):
    with pytest.raises(ValidationError, match=says):
        CompareStage.model_validate({**RIGHT, **change})


def test_detectors():
    right = {"teacher": "t", "students": {"kd-s0": "a"}, "source": {"name": "digit_scenes"}}
    stage = DetectorsStage.model_validate(right)
    assert tuple(question.name for question in stage.questions) == STANDARD_OF_DETECTORS
    for change, says in (
        ({"students": {}}, "whom to audit"),
        ({"score": 1.5}, "less than 1"),
        ({"questions": ["fidelity"]}, "fidelity"),
        ({"source": {"name": "digit_scenes", "split": "test"}}, "'split' is said beside it|split"),
    ):
        with pytest.raises(ValidationError, match=says):
            DetectorsStage.model_validate({**right, **change})
