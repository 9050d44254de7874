import torch

from limbeck.sources import digits


def test_splits_are_fixed_stratified_and_disjoint():
    train, test = digits(split="train"), digits(split="test")
    assert len(train) + len(test) == 1797
    assert 490 <= len(test) <= 510
    assert (train.image_shape, train.class_names) == ((1, 8, 8), tuple("0123456789"))
    shares = torch.bincount(test.labels) / (torch.bincount(test.labels) + torch.bincount(train.labels))
    assert shares.sub(500 / 1797).abs().max() < 0.005
    assert (train.fingerprint, test.fingerprint) == (digits().fingerprint, digits(split="test").fingerprint)
    assert train.images.max() == 255


def test_few_labels():
    few = digits(per_class=5)
    assert torch.bincount(few.labels).tolist() == [5] * 10
    assert few.fingerprint != digits(per_class=5, subset_seed=1).fingerprint
    assert digits(limit=20, size=16).image_shape == (1, 16, 16)


def test_grey_digits_for_networks_of_colour_images():
    colour = digits(limit=20, channels=3)
    assert colour.image_shape == (3, 8, 8)
    assert (colour.images == digits(limit=20).images).all()
