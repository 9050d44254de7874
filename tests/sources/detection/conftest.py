from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image

COCO = {
    "images": [
        {"id": 3, "file_name": "a.png", "width": 64, "height": 48},
        {"id": 9, "file_name": "b.png", "width": 40, "height": 30},
        {"id": 4, "file_name": "empty.png", "width": 20, "height": 20},
    ],
    "annotations": [
        {"id": 1, "image_id": 3, "category_id": 7, "bbox": [8, 6, 20, 12], "area": 200, "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 2, "bbox": [0, 0, 40, 30], "iscrowd": 1},
        {"id": 5, "image_id": 3, "category_id": 2, "bbox": [30.5, 20.25, 10, 10.5]},
        {"id": 6, "image_id": 9, "category_id": 7, "bbox": [5, 5, 9, 8]},
        {"id": 7, "image_id": 3, "category_id": 90, "bbox": [1, 2, 3, 4]},
        {"id": 8, "image_id": 9, "category_id": 7, "bbox": [20, 10, 5, 9]},
    ],
    "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "bird"}, {"id": 90, "name": "dog"}],
}


@pytest.fixture
def tree():
    """A small COCO file, to be spoiled."""
    return copy.deepcopy(COCO)


def write_pictures(folder, entries):
    folder.mkdir(parents=True, exist_ok=True)
    for at, entry in enumerate(entries):
        pixels = np.full((entry["height"], entry["width"], 3), 20 * at + 10, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / entry["file_name"])


@pytest.fixture
def make_coco(tmp_path):
    """Write a COCO set: annotations as a mapping or as text, pictures as COCO above lists them."""

    def make(content, *, name="train.json", images="images", pictures=COCO["images"]):
        root = tmp_path / "set"
        write_pictures(root / images, pictures)
        (root / "annotations").mkdir(exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (root / "annotations" / name).write_text(text, encoding="utf-8")
        return root

    return make


VOC_OBJECT = "<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>"
SIDES = ("xmin", "ymin", "xmax", "ymax")


def voc_object(name, box, difficult=0):
    inside = "".join(
        f"<{side}>{value}</{side}>" for side, value in zip(SIDES, box, strict=True) if value is not None
    )
    return VOC_OBJECT.format(name, difficult, inside)


def voc_xml(objects, size=(40, 30)):
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation>{shape}{''.join(voc_object(*thing) for thing in objects)}</annotation>"


@pytest.fixture
def make_voc(tmp_path):
    """Write a VOC folder: stem -> (XML text, size of the picture or None for no picture), and image sets."""

    def make(files, sets, *, root=tmp_path / "voc"):
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for stem, (text, size) in files.items():
            (root / "Annotations" / f"{stem}.xml").write_text(text, encoding="utf-8")
            if size is not None:
                Image.new("RGB", size, (9, 9, 9)).save(root / "JPEGImages" / f"{stem}.jpg")
        for name, stems in sets.items():
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(stems) + "\n", encoding="utf-8")
        return root

    return make


@pytest.fixture
def sample_facts():
    """Everything that a sample says, in plain values."""

    def facts(sample):
        assert sample.image.dtype == torch.uint8
        assert sample.image.shape[0] == 3
        assert sample.boxes.dtype == sample.areas.dtype == torch.float32
        assert sample.labels.dtype == torch.int64
        assert sample.crowd.dtype == torch.bool
        return {
            "shape": tuple(sample.image.shape[1:]),
            "boxes": sample.boxes.tolist(),
            "labels": sample.labels.tolist(),
            "crowd": sample.crowd.tolist(),
            "id": sample.image_id,
            "areas": sample.areas.tolist(),
        }

    return facts
