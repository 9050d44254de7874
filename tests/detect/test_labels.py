"""A classifier's logits of every object: computed in batches, stored, refused where they do not belong."""

from __future__ import annotations

import pytest
import torch

from limbeck.detect.classifier import ClassifierTeacher
from limbeck.detect.labels import FILE_NAME, accuracy, fingerprint, label_objects, read_labels, write_labels
from limbeck.errors import CheckpointError
from limbeck.models import DataConfig, build
from limbeck.numerics.crops import box_crops
from limbeck.sealed import Sealed, write_sealed

CPU = torch.device("cpu")


@pytest.fixture
def stored(shapes, classifier_teacher, tmp_path):
    logits = label_objects(shapes, classifier_teacher, device=CPU)
    write_labels(tmp_path, logits, source=shapes, classifier=classifier_teacher)
    return tmp_path, logits


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_each_object_gets_the_logits_of_its_crop(shapes, classifier_teacher, batch_size):
    found = label_objects(shapes, classifier_teacher, device=CPU, batch_size=batch_size)
    assert found.shape == (sum(shapes.box_counts), 3)
    number = 0
    for sample in shapes.samples:
        for box in sample.boxes:
            image = (sample.image.float() / 255)[None]
            crop = box_crops(image, torch.zeros(1, dtype=torch.int64), box[None], size=16)
            torch.testing.assert_close(found[number], classifier_teacher.logits(crop)[0], rtol=1e-5, atol=1e-5)
            number += 1


def test_images_without_objects_have_no_logits(shapes, classifier_teacher):
    shapes.samples = [shapes.samples[2]] * 3
    found = label_objects(shapes, classifier_teacher, device=CPU, batch_size=2)
    assert found.shape == (0, 3)
    assert accuracy(found, shapes) != accuracy(found, shapes)  # not a number: there is nothing to be right about


def test_accuracy_is_the_share_that_is_right(shapes):
    labels = torch.cat([sample.labels for sample in shapes.samples])
    logits = torch.nn.functional.one_hot(labels, 3).float()
    assert accuracy(logits, shapes) == 1
    logits[0] = logits[0].roll(1)
    assert accuracy(logits, shapes) == pytest.approx(1 - 1 / len(labels))


def test_what_is_written_is_read(stored, shapes, classifier_teacher):
    folder, logits = stored
    assert torch.equal(read_labels(folder, shapes, classifier_teacher), logits)
    assert torch.equal(read_labels(folder / FILE_NAME, shapes, None), logits)


def test_fingerprints_tell_weights_apart(classifier):
    before = fingerprint(classifier)
    assert fingerprint(classifier) == before
    with torch.no_grad():
        next(classifier.parameters()).view(-1)[0] += 1e-4
    assert fingerprint(classifier) != before


def test_labels_of_another_classifier_are_refused(stored, shapes, names):
    folder, _ = stored
    torch.manual_seed(4)
    model = build("resnet8", num_classes=3, in_channels=3)
    other = ClassifierTeacher(model, DataConfig((3, 16, 16), (0.4,) * 3, (0.2,) * 3, names), names)
    with pytest.raises(CheckpointError, match=r"made by another classifier .* Run the stage that labels"):
        read_labels(folder, shapes, other)


def test_labels_of_other_data_are_refused(stored, shapes, classifier_teacher):
    folder, _ = stored
    shapes.fingerprint = "others"
    with pytest.raises(CheckpointError, match="other data: their fingerprint is shapes, these have others"):
        read_labels(folder, shapes, classifier_teacher)


def test_labels_of_another_order_of_classes_are_refused(stored, shapes, classifier_teacher):
    folder, _ = stored
    shapes.class_names = tuple(reversed(shapes.class_names))
    with pytest.raises(CheckpointError, match=r"circle, square, cross.*cross, square, circle"):
        read_labels(folder, shapes, classifier_teacher)


def test_labels_of_other_crops_are_refused(stored, shapes, classifier, names):
    folder, _ = stored
    facts = DataConfig((3, 16, 16), (0.4,) * 3, (0.2,) * 3, names)
    larger = ClassifierTeacher(classifier, facts, names, crop_size=24)
    with pytest.raises(CheckpointError, match=r"crops of 16 pixels.*24"):
        read_labels(folder, shapes, larger)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"kind": "pairs"}, "'pairs'"), ({"format": 2}, "format 2")],
)
def test_files_of_another_kind_are_refused(stored, shapes, change, says):
    folder, logits = stored
    card = {**Sealed(folder / FILE_NAME, again="").card, **change}
    del card["sha256"]
    write_sealed(folder / FILE_NAME, {"logits": logits}, card)
    with pytest.raises(CheckpointError, match=says):
        read_labels(folder, shapes, None)


def test_missing_and_damaged_files_are_named(stored, shapes, tmp_path):
    folder, _ = stored
    file = folder / FILE_NAME
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    with pytest.raises(CheckpointError, match=r"labels\.safetensors.*Run the stage that labels the objects again"):
        read_labels(folder, shapes, None)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="checksum"):
        read_labels(folder, shapes, None)
    with pytest.raises(CheckpointError, match="nowhere"):
        read_labels(tmp_path / "nowhere", shapes, None)
