import pytest
import torch
from PIL import Image

from limbeck.audit.questions.shape_bias import shape_bias, shape_decisions
from limbeck.errors import ConfigError


def test_composed_images(room):
    answer = shape_bias(room.sitting(), images=150)
    room.checked(answer)
    assert [(one.measure, one.primary) for one in answer.evidence] == [("shape_bias", True), ("phase_bias", False)]
    for tally in answer.evidence[0].tallies.values():
        assert 0 <= tally.value <= 1
        assert (tally.columns[:, 0] <= tally.columns[:, 1]).all()
    assert 0 < answer.numbers["shape_bias_decided"]["teacher"] < 1


def test_swapping_the_cues_gives_the_rest():
    draws = torch.Generator().manual_seed(0)
    decided, shape, texture = (torch.randint(4, (300,), generator=draws) for _ in range(3))
    bias = shape_decisions(decided, shape, texture)
    assert bias.value == pytest.approx(1 - shape_decisions(decided, texture, shape).value)
    assert bias.value == pytest.approx(0.5, abs=0.1)
    assert not bias.columns[shape == texture].any()


def test_a_folder_and_coarse_classes(room, tmp_path):
    for name in ("cat/cat1-dog2.png", "dog/dog1-cat3.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / name)
    coarse = {"cat": ("c0", "c1"), "dog": ("c2", "c3", "c4")}
    answer = shape_bias(room.sitting(), folder=str(tmp_path), coarse=coarse)
    room.checked(answer)
    for tally in answer.evidence[0].tallies.values():  # one picture, both roles: one decision is by shape
        assert tally.value == 0.5
    with pytest.raises(ConfigError, match="names 'c9'"):
        shape_bias(room.sitting(), folder=str(tmp_path), coarse={"cat": ("c9",)})
    with pytest.raises(ConfigError, match="give `folder`"):
        shape_bias(room.sitting(), coarse=coarse)
