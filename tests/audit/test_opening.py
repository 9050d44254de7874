"""From names to networks and images, checked against each other."""

from __future__ import annotations

import json

import pytest
import torch

from limbeck.audit.config import CompareStage
from limbeck.audit.opening import check_size, material_of, named_by, open_source, split_name, trials_of
from limbeck.errors import ConfigError, DataError, RunFolderError
from limbeck.protocols import StageContext
from limbeck.sources import arrays, build
from limbeck.specs import Spec


class Lazy:
    """A source that reads one image at a time and remembers which."""

    class_names = ("a", "b")
    mean, std = (0.5,), (0.5,)
    image_shape = (1, 4, 4)
    fingerprint = "lazy"

    def __init__(self, count=50):
        self.count, self.read = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append(index)
        return torch.full((1, 4, 4), index, dtype=torch.uint8), index % 2


@pytest.fixture
def comparison(tmp_path):
    for name in ("kd-s1", "control-s0", "kd-s0", "kd-s0.old-1"):
        trial = tmp_path / "run/students/trials" / name
        trial.mkdir(parents=True)
        method, seed = name.split(".")[0].rsplit("-s", 1)
        (trial / "config.json").write_text(json.dumps({"method": method, "seed": int(seed)}))
        (trial / "result.json").write_text("{}")
    return tmp_path / "run/students"


def test_names_of_students():
    assert split_name("kd-s12") == ("kd", 12)
    assert split_name("two-stage-s0") == ("two-stage", 0)
    assert split_name("student-sx") == ("student-sx", None)


def test_everyone_of_a_comparison(comparison):
    found = trials_of(comparison)
    assert [(one.name, one.role, one.method, one.seed) for one in found] == [
        ("control-s0", "control", "control", 0),
        ("kd-s0", "student", "kd", 0),
        ("kd-s1", "student", "kd", 1),
    ]
    assert [one.what for one in trials_of(comparison.parent)] == [one.what for one in found]
    assert trials_of(comparison, prefix="placebo ")[1].name == "placebo kd-s0"


def test_comparisons_that_cannot_be_audited(comparison, tmp_path):
    (comparison / "trials/kd-s1/result.json").unlink()
    with pytest.raises(RunFolderError, match=r"kd-s1 is not finished; run the comparison to its end"):
        trials_of(comparison)
    (comparison.parent / "more/trials").mkdir(parents=True)
    with pytest.raises(RunFolderError, match=r"holds 2 comparisons \(more, students\)"):
        trials_of(comparison.parent)
    with pytest.raises(RunFolderError, match="holds none"):
        trials_of(tmp_path / "run/students/trials")


@pytest.fixture
def small_sets(tmp_path):
    """A stage that trained students on sets, of which its result lists those that count."""
    for name in ("dm-hard-s0", "dm-hard-lr0.1-s0", "random_10_per_class-hard-s0"):
        trial = tmp_path / "run/look/trials" / name
        trial.mkdir(parents=True)
        (trial / "config.json").write_text(json.dumps({"cell": {"row": "dm"}, "seed": 0}))
        (trial / "result.json").write_text("{}")
    kept = [("dm", "dm-hard-lr0.1-s0"), ("random", "random_10_per_class-hard-s0")]
    listed = [{"method": method, "seed": 0, "trial": trial} for method, trial in kept]
    (tmp_path / "run/look/result.json").write_text(json.dumps({"kind": "comparison", "kept": listed}))
    return tmp_path / "run/look"


def named(folder, **values):
    config = CompareStage.model_validate(
        {"teacher": "t", "comparison": "c", "source": "digits", **values}, strict=False
    )
    return named_by(config, StageContext(seed=0, inputs={"t": "t", "c": folder, "x": "x"}, device="cpu"))


def test_sets_are_methods_and_one_of_them_is_the_control(small_sets):
    found = trials_of(small_sets, control="random")
    assert [(one.name, one.role, one.method) for one in found] == [
        ("control-s0", "control", "control"),
        ("dm-s0", "student", "dm"),
    ]
    assert found[0].what.endswith("random_10_per_class-hard-s0")
    assert found[1].what.endswith("dm-hard-lr0.1-s0")  # the other rate was tried, and left out
    assert [one.name for one in named(small_sets, control="random")] == ["teacher", "control-s0", "dm-s0"]


def test_a_control_that_is_not_there_is_said_so(small_sets, comparison):
    with pytest.raises(ConfigError, match=r"no method 'rndom'. Did you mean 'random'\?.* it has: dm, random"):
        named(small_sets, control="rndom")
    with pytest.raises(ConfigError, match=r"no method 'control'.*control: random; it has: dm, random"):
        named(small_sets)
    assert [one.name for one in named(small_sets, controls={"control-s0": "x"})][-1] == "control-s0"
    with pytest.raises(ConfigError, match="has a 'control' of its own"):
        named(comparison, control="kd")
    with pytest.raises(ValueError, match="control: 'random' is to be a method of the comparison"):
        CompareStage.model_validate(
            {"teacher": "t", "students": {"a": "x"}, "control": "random", "source": "digits"}
        )


def test_students_that_were_not_kept_cannot_be_audited(small_sets):
    (small_sets / "result.json").write_text('{"kind": "evaluation"}')
    with pytest.raises(RunFolderError, match="keeps them with keep_students: true"):
        trials_of(small_sets)


def test_images_are_drawn_at_random_and_only_those_are_read():
    source = Lazy()
    material = material_of(source, name="lazy", count=10, seed=0)
    assert sorted(source.read) == sorted(material.images[:, 0, 0, 0].tolist())
    assert torch.equal(material.images[:, 0, 0, 0] % 2, material.labels)
    more = material_of(Lazy(), name="lazy", count=20, seed=0)
    assert torch.equal(more.images[:10], material.images)  # any first part is the smaller sample
    assert not torch.equal(material_of(Lazy(), name="lazy", count=10, seed=1).images, material.images)
    assert len(material_of(Lazy(), name="lazy", count=None, seed=0)) == 50


def test_images_in_memory_bring_their_groups():
    joined = build("joined", split="test", of=["digits", {"name": "digits"}], names=["a", "b"])
    material = material_of(joined, name="joined", count=200, seed=0)
    assert material.group_names == ("a", "b")
    assert sorted(material.groups.unique().tolist()) == [0, 1]
    digits = build("digits", split="test").images
    first = int((material.groups == 0).nonzero()[0])
    assert (digits == material.images[first]).flatten(1).all(dim=1).any()


def test_sets_that_say_nothing():
    with pytest.raises(DataError, match="lazy has no images"):
        material_of(Lazy(0), name="lazy", count=None, seed=0)
    with pytest.raises(DataError, match=r"all 1 images of lazy are of class '[ab]'"):
        material_of(Lazy(), name="lazy", count=1, seed=0)
    few = material_of(
        arrays(torch.zeros(9, 4, 4, dtype=torch.uint8), torch.arange(9) % 2), name="x", count=9, seed=0
    )
    with pytest.raises(DataError, match=r"9 images of x give .*±10.0 was asked for, which needs 9\d"):
        check_size(few, 0.1)
    check_size(few, None)
    check_size(few, 0.4)


def test_what_makes_training_sets_smaller_leaves_a_test_split_whole():
    spec = Spec(name="digits", per_class=2)
    assert len(open_source(spec, "test")) == 500 == len(open_source(Spec(name="digits"), "test"))
    assert len(open_source(spec, "train")) == 20
