"""Did the student end up in the teacher's valley?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import register
from limbeck.audit.subjects import Network, Subject
from limbeck.audit.tally import Tally
from limbeck.bounds import PositiveInt
from limbeck.measures.barrier import loss_barrier


@register
def barrier(exam: Examination, *, images: PositiveInt = 1000, points: PositiveInt = 7) -> Answer:
    """How much the loss rises on the straight line between the teacher's weights and the student's.

    For students of the teacher's own architecture (self-distillation). The statistics of batch norm are measured
    anew at every point, on the images of the audit.

    Args:
        exam: networks of one architecture, and images.
        images: at most so many.
        points: on the line, both ends among them.

    Raises:
        ModelError: a network of another architecture.

    References:
        Frankle et al., Linear Mode Connectivity, ICML 2020 [frankle2020linear].
    """
    material = exam.material.part(images)
    batches = [(given, labels) for given, labels, _ in exam.batches(material)]
    tallies = {one.name: _tally(exam.panel.teacher, one, batches, points) for one in exam.panel.learners}
    return Answer(
        (
            Evidence(
                "barrier",
                "loss",
                "Loss barrier between the weights",
                "likeness",
                tallies,
                unit="nats",
                alike="lower",
                margin=0.05,
                constants={"points": points},
            ),
        )
    )


def _tally(teacher: Subject, one: Subject, batches: list[tuple[Tensor, Tensor]], points: int) -> Tally:
    losses: list[Tensor] = []

    @torch.no_grad()
    def loss(network: nn.Module) -> float:
        each = torch.cat([F.cross_entropy(network(given).double(), y, reduction="none") for given, y in batches])
        losses.append(each.cpu())
        return each.mean().item()

    found = loss_barrier(
        Network(teacher.network.model, one.network.data),
        one.network,
        loss,
        statistics=[given for given, _ in batches],
        points=points,
    )
    shares = found.shares
    columns = torch.cat([torch.stack(losses, dim=1), torch.ones(len(losses[0]), 1, dtype=torch.float64)], dim=1)

    def height(sums: Tensor) -> Tensor:
        means = sums[..., :-1] / sums[..., -1:]
        at_teacher = means[..., int(shares.argmax())][..., None]
        at_student = means[..., int(shares.argmin())][..., None]
        return (means - shares * at_teacher - (1 - shares) * at_student).amax(dim=-1)

    return Tally(columns, height)
