"""Do student and teacher cut the space of images into the same regions?"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination, Material
from limbeck.audit.picture import grid
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import method_means, representatives
from limbeck.audit.tally import share
from limbeck.bounds import PositiveInt
from limbeck.errors import DataError
from limbeck.measures.boundaries import Plane, margin_correlation, margins, plane_through, predictions_on
from limbeck.seeding import generator

_PALETTE = (
    (0.30, 0.47, 0.66),
    (0.95, 0.56, 0.17),
    (0.88, 0.34, 0.35),
    (0.46, 0.72, 0.70),
    (0.35, 0.63, 0.31),
    (0.93, 0.79, 0.28),
    (0.69, 0.48, 0.63),
    (1.00, 0.62, 0.65),
    (0.61, 0.46, 0.37),
    (0.73, 0.69, 0.67),
)
_DRAWN = 64


@register
def boundaries(
    exam: Examination,
    *,
    triplets: PositiveInt = 20,
    resolution: PositiveInt = 25,
    margin_images: PositiveInt = 100,
) -> Answer:
    """Share of equal predictions on planes through three images of three classes, and distances to the boundary.

    The planes lie in the space of pixels, which all networks share whatever their normalisation.

    Args:
        exam: networks and images.
        triplets: planes; the paper takes 50.
        resolution: points along each axis of a plane; the paper takes 50.
        margin_images: images whose distance to the boundary is measured, towards another image each.

    Raises:
        DataError: images of fewer than three classes.

    References:
        [ojha2023knowledge], section 6, after Somepalli et al. 2022 [somepalli2022can].
    """
    material = exam.material
    planes = _planes(material, triplets, exam.seed)
    device = exam.device
    found: dict[str, list[Tensor]] = {one.name: [] for one in exam.panel}
    for plane in planes:
        points = plane.grid(resolution=resolution)
        for one in exam.panel:
            found[one.name].append(
                predictions_on(one.network, _on(plane, device), points, batch_size=exam.batch_size)
            )
    teacher = found[exam.panel.teacher.name]
    same = {
        one.name: share(
            torch.tensor([float((a == b).double().mean()) for a, b in zip(found[one.name], teacher, strict=True)])
        )
        for one in exam.panel.learners
    }
    distances = _distances(exam, min(margin_images, len(material)))
    theirs = distances[exam.panel.teacher.name]
    correlation = {one.name: margin_correlation(distances[one.name], theirs) for one in exam.panel.learners}
    return Answer(
        (
            Evidence(
                "boundaries",
                "same_regions",
                "Same regions on planes through three images",
                "likeness",
                same,
                constants={"triplets": triplets, "resolution": resolution, "space": "pixels in [0, 1]"},
                note=f"What is drawn anew for the interval are the {triplets} planes.",
                counted="planes",
            ),
        ),
        pictures=_picture(exam, planes[0]),
        numbers={"margin_correlation": method_means(exam.panel, correlation)},
    )


def _planes(material: Material, count: int, seed: int) -> list[Plane]:
    """Through images of three different classes each, drawn once for all networks."""
    classes = material.labels.unique()
    if len(classes) < 3:
        raise DataError(
            f"audit: the question 'boundaries' draws planes through images of three classes, and "
            f"{material.name} has "
            f"{len(classes)}."
        )
    draws = generator(seed, "audit", "planes")
    found = []
    for _ in range(count):
        chosen = classes[torch.randperm(len(classes), generator=draws)[:3]]
        rows = []
        for label in chosen:
            members = (material.labels == label).nonzero().flatten()
            rows.append(int(members[int(torch.randint(len(members), (), generator=draws))]))
        found.append(plane_through(material.images[rows].float() / 255))
    return found


def _on(plane: Plane, device: torch.device) -> Plane:
    return Plane(plane.origin.to(device), plane.axes.to(device), plane.corners)


def _distances(exam: Examination, count: int) -> dict[str, Tensor]:
    """How far each image is from another decision on the way to another image, as a distance between images."""
    images = exam.material.images[:count].to(exam.device).float() / 255
    directions = images.roll(1, dims=0) - images
    longest = float(directions.flatten(1).norm(dim=1).max())
    return {
        one.name: margins(
            one.network, images, directions, longest=longest, steps=20, halvings=4, batch_size=exam.batch_size
        ).cpu()
        for one in exam.panel
    }


def _picture(exam: Examination, plane: Plane) -> dict[str, tuple[bytes, str, str]]:
    points = plane.grid(resolution=_DRAWN)
    colours = torch.tensor(_PALETTE)
    shown = representatives(exam.panel)
    tiles = []
    for one in shown:
        found = predictions_on(one.network, _on(plane, exam.device), points, batch_size=exam.batch_size).cpu()
        # The first coordinate varies slowest: it runs to the right, the second one upwards.
        tiles.append(colours[found % len(colours)].view(_DRAWN, _DRAWN, 3).permute(2, 1, 0).flip(1))
    names = [one.method or one.name for one in shown]
    return {
        "plane": (
            grid([tiles], row_names=["plane"], column_names=names),
            "Regions of the classes",
            "One plane through three test images; each colour is a predicted class.",
        )
    }
