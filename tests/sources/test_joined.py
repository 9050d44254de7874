import pytest
import torch

from limbeck.errors import ConfigError, DataError
from limbeck.sources import ArraySource, build
from limbeck.sources.joined import joined_of

DOMAINS = ("photo", "art_painting", "cartoon", "sketch")


def made(value, *, names=("a", "b"), size=4, channels=3, n=4):
    labels = torch.arange(n) % len(names)
    return ArraySource(torch.full((n, channels, size, size), value, dtype=torch.uint8), labels, names)


def test_the_parts_follow_each_other_and_are_the_groups():
    parts = [{"name": "digits", "limit": 20}, {"name": "digits", "subset_seed": 1, "limit": 30}]
    found = build("joined", of=parts, names=["first", "second"])
    alone = [build(**part) for part in parts]
    assert torch.equal(found.images, torch.cat([part.images for part in alone]))
    assert torch.equal(found.labels, torch.cat([part.labels for part in alone]))
    assert (found.groups.tolist(), found.group_names) == ([0] * 20 + [1] * 30, ("first", "second"))
    assert found.mean == pytest.approx((found.images.double().mean().item() / 255,))
    assert found.fingerprint == build("joined", of=parts, names=["first", "second"]).fingerprint
    assert found.fingerprint != build("joined", of=parts, names=["first", "third"]).fingerprint
    assert found.fingerprint != build("joined", of=parts[::-1], names=["first", "second"]).fingerprint


def test_the_split_reaches_every_part():
    found = build("joined", of=["digits", {"name": "tinted", "of": "digits"}], split="test")
    test = build("digits", split="test")
    assert torch.equal(found.labels, torch.cat([test.labels, test.labels]))


def test_grey_parts_become_colour_beside_colour():
    found = joined_of([made(7, channels=1), made(9)], ["grey", "colour"])
    assert found.images[:, :, 0, 0].tolist() == [[7, 7, 7]] * 4 + [[9, 9, 9]] * 4


@pytest.mark.parametrize(
    ("of", "names"),
    [
        (["digits", "digits"], ("digits-1", "digits-2")),
        ([{"name": "digits"}, {"name": "tinted", "of": "digits"}], ("digits", "tinted")),
    ],
)
def test_names_are_derived(of, names):
    assert build("joined", of=of).group_names == names


def test_a_choice_of_the_whole_keeps_the_groups():
    of = [{"name": "digits", "size": 4}, {"name": "digits"}]
    whole = build("joined", of=["digits", "digits"])
    some = build("joined", of=["digits", "digits"], per_class=3)
    assert torch.bincount(some.labels).tolist() == [3] * 10
    places = [(whole.images == image).flatten(1).all(1).nonzero().flatten() for image in some.images]
    assert all(whole.groups[place].tolist() == [0, 1] for place in places)
    assert set(some.groups.tolist()) == {0, 1}
    with pytest.raises(DataError, match=r"part 'digits-2' has images of \(1, 8, 8\).*size: 4"):
        build("joined", of=of)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "c"), "class 1 is 'b' in 'x' and 'c' in 'y'.*'relabelled'"),
        (("b", "a"), "class 0 is 'a' in 'x' and 'b' in 'y'"),
        (("a", "b", "c"), "'x' has 2 classes and 'y' has 3"),
    ],
)
def test_the_classes_have_to_be_the_same(names, message):
    with pytest.raises(DataError, match=message):
        joined_of([made(1), made(2, names=names)], ["x", "y"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"of": []}, "it is empty"),
        ({"of": ["digits"], "names": ["a", "b"]}, "1 parts need 1 names; got 2"),
        ({"of": ["digits", "digits"], "names": ["a", "a"]}, "two parts are named 'a'"),
        ({"of": [{"limit": 3}]}, "a source inside it needs a name, one of arrays, .*; got limit"),
        ({"of": [{"name": "digits", "split": "test"}]}, "the split is given from outside; leave it out"),
        ({"of": [{"name": "digits", "limt": 2}]}, "has no setting 'limt'. Did you mean 'limit'"),
    ],
)
def test_what_cannot_be_joined(settings, message):
    with pytest.raises(ConfigError, match=message):
        build("joined", **settings)


def test_the_domains_of_pacs(shared):
    root = shared / "data" / "pacs"
    found = build(
        "joined",
        of=[{"name": "parquet", "root": str(root / d), "size": 16, "limit": 40} for d in DOMAINS],
        split="test",
    )
    assert (found.group_names, found.image_shape) == (DOMAINS, (3, 16, 16))
    assert torch.bincount(found.groups).tolist() == [40] * 4
    assert found.class_names == ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
