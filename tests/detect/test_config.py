"""What stages may say: nothing that would be ignored, nothing that would hide a row."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from limbeck.detect.config import CompareStage, Term

COMPARE = {"source": "digit_scenes", "model": "small_ssd", "classifier": "teacher"}


@pytest.mark.parametrize(
    ("said", "loss", "listens"),
    [
        ({"taps": ["layer1"]}, "pkd", "kd_loc_features"),
        ({"levels": ["0"]}, "kd_cls", "fgfi"),
        ({"tower": 1}, "pkd", "crosskd_boxes"),
    ],
)
def test_settings_that_a_loss_does_not_read_are_refused(said, loss, listens):
    (setting,) = said
    with pytest.raises(ValidationError, match=f"'{setting}' says nothing to the loss '{loss}'"):
        Term.model_validate({"loss": loss, **said})
    term = Term.model_validate({"loss": listens, **said})
    assert Term.model_validate(term.model_dump(mode="json")) == term
    plain = Term.model_validate({"loss": loss})
    assert Term.model_validate(plain.model_dump(mode="json")) == plain


def test_the_control_is_no_method_and_trials_share_no_folder():
    with pytest.raises(ValidationError, match="'control' is the undistilled detector"):
        CompareStage.model_validate({**COMPARE, "methods": {"control": "dicod"}})
    with pytest.raises(ValidationError, match="'both, PKD' and 'both; PKD' would share a folder"):
        CompareStage.model_validate({**COMPARE, "methods": {"both, PKD": "dicod", "both; PKD": "pkd"}})
    assert CompareStage.model_validate({**COMPARE, "methods": {"a": "dicod", "b": "pkd"}}).methods
