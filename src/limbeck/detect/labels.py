"""A classifier's logits of every object of a source, computed once and stored."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.detect.classifier import ClassifierTeacher
from limbeck.errors import CheckpointError
from limbeck.numerics.crops import box_crops
from limbeck.protocols import DetectionSource
from limbeck.sealed import Sealed, write_sealed

FILE_NAME = "labels.safetensors"
AGAIN = "Run the stage that labels the objects again."


def label_objects(
    source: DetectionSource, classifier: ClassifierTeacher, *, device: torch.device, batch_size: int = 8
) -> Tensor:
    """Logits of all objects of a source, cut out of its images as they are.

    Args:
        source: images and boxes.
        classifier: on the device.
        device: where.
        batch_size: images at once; no more of them is ever held.

    Returns:
        On the CPU, float32 (objects, classes), in the order of the objects' numbers; crowds have theirs too.
    """
    found = []
    for start in range(0, len(source), batch_size):
        crops = []
        for place in range(start, min(start + batch_size, len(source))):
            sample = source[place]
            image = (sample.image.to(device).float() / 255)[None]
            owner = torch.zeros(len(sample.boxes), dtype=torch.int64, device=device)
            crops.append(box_crops(image, owner, sample.boxes.to(device), size=classifier.crop_size))
        found.append(classifier.logits(torch.cat(crops)).float().cpu())
    return torch.cat(found)


def accuracy(logits: Tensor, source: DetectionSource) -> float:
    """Share of objects whose class the classifier gets right."""
    labels = torch.cat([source[place].labels for place in range(len(source))])
    return float((logits.argmax(1) == labels).double().mean()) if len(labels) else float("nan")


def fingerprint(model: nn.Module) -> str:
    """Digest of a network's weights."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_labels(folder: Path, logits: Tensor, *, source: DetectionSource, classifier: ClassifierTeacher) -> None:
    """Write logits with what they are of."""
    write_sealed(
        folder / FILE_NAME,
        {"logits": logits},
        {
            "kind": "object_labels",
            "format": 1,
            "data": source.fingerprint,
            "class_names": list(source.class_names),
            "crop_size": classifier.crop_size,
            "classifier": fingerprint(classifier.model),
        },
    )


def read_labels(path: Path, source: DetectionSource, classifier: ClassifierTeacher | None) -> Tensor:
    """Stored logits of a source's objects.

    Args:
        path: folder of the stage, or the file.
        source: whose objects are to be learnt.
        classifier: that teaches beside them, if one does; it has to be the one that labelled.

    Returns:
        (objects, classes), on the CPU.

    Raises:
        CheckpointError: missing, damaged, of other data, of another classifier or of crops of another size.
    """
    file = path / FILE_NAME if path.is_dir() else path
    stored = Sealed(file, again=AGAIN)
    stored.verify()
    card = stored.card
    if card.get("kind") != "object_labels" or card.get("format") != 1:
        raise CheckpointError(
            f"{file} holds no soft labels of objects that this Limbeck can read (kind {card.get('kind')!r}, "
            f"format "
            f"{card.get('format')!r}). {AGAIN}"
        )
    if card["data"] != source.fingerprint:
        raise CheckpointError(
            f"{file} labels the objects of other data: their fingerprint is {card['data']}, these have "
            f"{source.fingerprint}. {AGAIN}"
        )
    if list(card["class_names"]) != list(source.class_names):
        raise CheckpointError(
            f"{file} has a column for each of {', '.join(card['class_names'][:6])}; the classes of the data are "
            f"{', '.join(list(source.class_names)[:6])}, and the order counts. {AGAIN}"
        )
    if classifier is not None and card["crop_size"] != classifier.crop_size:
        raise CheckpointError(
            f"{file} was made from crops of {card['crop_size']} pixels, and the classifier teaches with crops of "
            f"{classifier.crop_size}. Give both stages the same crop_size."
        )
    if classifier is not None and card["classifier"] != fingerprint(classifier.model):
        raise CheckpointError(
            f"{file} was made by another classifier ({card['classifier']}) than the one that teaches "
            f"({fingerprint(classifier.model)}). {AGAIN}"
        )
    return stored.rows("logits", slice(None))
