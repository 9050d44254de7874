"""CRD: the formula with loops, the choice of negatives, the memory, resuming."""

from __future__ import annotations

import importlib
import math

import pytest
import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.losses import CRD, crd, crd_loss, crd_remember
from limbeck.losses._registry import LOSSES

IMAGES, DIM, K = 40, 6, 9
TAU = 0.2


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def directions(*shape: int, seed: int) -> Tensor:
    return torch.nn.functional.normalize(draw(*shape, seed=seed), dim=-1)


def rows(samples: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(IMAGES, generator=generator)[: K + 1] for _ in range(samples)])


def one_side(embeddings: Tensor, memory: Tensor, contrast: Tensor, scale: float) -> tuple[float, float]:
    """The objective as the paper writes it, number by number."""
    scores = [
        [math.exp(float(e @ memory[j]) / TAU) for j in chosen]
        for e, chosen in zip(embeddings, contrast, strict=True)
    ]
    if not scale:
        scale = IMAGES * sum(map(sum, scores)) / (len(scores) * (K + 1))
    noise, total = K / IMAGES, 0.0
    for first, *others in scores:
        total -= math.log((first / scale) / (first / scale + noise + 1e-7))
        total -= sum(math.log(noise / (other / scale + noise + 1e-7)) for other in others)
    return total / len(scores), scale


@pytest.mark.parametrize("known_scale", [0.0, 31.0])
def test_loops_agree(known_scale: float) -> None:
    student, teacher = directions(4, DIM, seed=1), directions(4, DIM, seed=2)
    memories, contrast = (draw(IMAGES, DIM, seed=3), draw(IMAGES, DIM, seed=4)), rows()
    scale = torch.full((2,), known_scale, dtype=torch.float64)
    loss, found = crd_loss(student, teacher, *memories, contrast, scale, temperature=TAU)
    first, z_student = one_side(student, memories[1], contrast, known_scale)
    second, z_teacher = one_side(teacher, memories[0], contrast, known_scale)
    assert float(loss) == pytest.approx(first + second, rel=1e-12)
    assert found.tolist() == pytest.approx([z_student, z_teacher], rel=1e-12)


def test_fetching_rows_and_the_whole_bank_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients, for rows that come twice too."""
    module = importlib.import_module("limbeck.losses.crd")  # the package's attribute of that name is the class
    contrast = rows()
    contrast[0, 3] = contrast[0, 2]
    results = []
    for limit, budget in ((10**9, 1), (0, 1), (0, 10**9)):
        monkeypatch.setattr(module, "WHOLE_BANK_UP_TO", limit)
        monkeypatch.setattr(module, "FETCHED_BYTES", {"cpu": budget})
        embeddings = [directions(4, DIM, seed=s).requires_grad_() for s in (1, 2)]
        memories = draw(IMAGES, DIM, seed=3), draw(IMAGES, DIM, seed=4)
        loss, _ = crd_loss(*embeddings, *memories, contrast, torch.zeros(2, dtype=torch.float64))
        results.append((loss, *torch.autograd.grad(loss, embeddings)))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


def test_gradient_is_of_the_embedding_with_a_constant_scale() -> None:
    memories, contrast = (draw(IMAGES, DIM, seed=3), draw(IMAGES, DIM, seed=4)), rows()
    scale = torch.tensor([20.0, 30.0], dtype=torch.float64)

    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return crd_loss(student, teacher, *memories, contrast, scale, temperature=TAU)[0]

    embeddings = [directions(4, DIM, seed=s).requires_grad_() for s in (1, 2)]
    assert torch.autograd.gradcheck(loss, embeddings)


def test_memory_follows_the_embeddings() -> None:
    memory, before = draw(IMAGES, DIM, seed=3), draw(IMAGES, DIM, seed=3)
    embeddings, index = directions(3, DIM, seed=1), torch.tensor([5, 7, 5])
    crd_remember(memory, embeddings, index, momentum=0.25)
    for position, sample in ((7, 1), (5, 2)):  # of two for one row the last counts
        mixed = 0.25 * before[position] + 0.75 * embeddings[sample]
        torch.testing.assert_close(memory[position], mixed / mixed.norm())
    untouched = [i for i in range(IMAGES) if i not in (5, 7)]
    assert torch.equal(memory[untouched], before[untouched])


CLASS_OF = torch.tensor(
    [2, 0, 1, 1, 0, 2, 2, 2, 0, 1, 2, 9, 9, 0, 1, 2]
)  # sizes 4, 4, 6, 2; labels need not be dense


def loss_on(class_of: Tensor = CLASS_OF, negatives: int = 5, seed: int = 0) -> crd:
    torch.manual_seed(seed)
    return CRD(student_shape=(4,), teacher_shape=(6,), class_of=class_of, negatives=negatives, dim=DIM).double()


def chosen(loss: crd, index: Tensor, steps: int) -> Tensor:
    """Negatives of several steps, shape (steps, n, K)."""
    found = []
    for _ in range(steps):
        found.append(loss._negatives(index))
        loss._advance()
    return torch.stack(found)


def test_negatives_are_distinct_and_of_other_classes() -> None:
    index = torch.arange(len(CLASS_OF))
    for step in chosen(loss_on(negatives=10), index, 20):
        for own, others in zip(index, step, strict=True):
            assert (CLASS_OF[others] != CLASS_OF[own]).all()
            assert len(set(others.tolist())) == 10


def test_every_other_image_is_chosen_equally_often_and_two_samples_choose_on_their_own() -> None:
    steps, negatives = 4000, 4
    index = torch.tensor([0, 1, 1])
    found = chosen(loss_on(negatives=negatives), index, steps)
    member = torch.zeros(steps, 3, len(CLASS_OF)).scatter_(2, found, 1.0)
    for sample, own in enumerate(index):
        others = CLASS_OF[own] != CLASS_OF
        share = negatives / int(others.sum())
        spread = 5 * math.sqrt(share * (1 - share) / steps)
        assert (member[:, sample].mean(0)[others] - share).abs().max() < spread
    others = CLASS_OF[1] != CLASS_OF
    first, second = member[:, 1][:, others], member[:, 2][:, others]
    together = first.T @ second / steps - (negatives / 12) ** 2
    assert together.abs().max() < 5 * math.sqrt(1 / 9 * 8 / 9 / steps)
    within = first.T @ first / steps  # pairs within one choice, as without replacement
    within = within[~torch.eye(12, dtype=torch.bool)] - negatives * (negatives - 1) / (12 * 11)
    assert within.abs().max() < 5 * math.sqrt(1 / 11 * 10 / 11 / steps)


def test_where_others_are_too_few_all_come_equally_often() -> None:
    found = loss_on(negatives=36)._negatives(torch.tensor([1]))[0]  # 12 others
    counts = torch.bincount(found, minlength=len(CLASS_OF))
    assert counts[CLASS_OF != 0].tolist() == [3] * 12
    assert counts[CLASS_OF == 0].sum() == 0


def test_negatives_follow_from_key_and_step_alone() -> None:
    index = torch.arange(6)
    first, again, other = (chosen(loss_on(seed=seed), index, 3) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(99)  # torch's own generator, which differs between processes, has no say
    assert torch.equal(loss_on(seed=0)._negatives(index), first[0])


def batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    index = torch.randperm(len(CLASS_OF), generator=torch.Generator().manual_seed(seed))[:5]
    return draw(5, 4, seed=seed), draw(5, 6, seed=seed + 100), index


def train(loss: crd, steps: range) -> list[Tensor]:
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    values = []
    for step in steps:
        optimizer.zero_grad()
        value = loss(*batch(step))
        value.backward()
        optimizer.step()
        values.append(value.detach())
    return values


def test_a_resumed_run_continues_to_the_last_bit() -> None:
    whole = loss_on()
    wanted = train(whole, range(6))
    begun = loss_on()
    train(begun, range(3))
    saved = {name: value.clone() for name, value in begun.state_dict().items()}
    assert {"memory_student", "memory_teacher", "scale", "key", "step"} <= set(saved)
    resumed = loss_on(seed=7)
    resumed(*batch(50))  # whatever it did before does not matter
    resumed.load_state_dict(saved)
    assert [float(v) for v in train(resumed, range(3, 6))] == [float(v) for v in wanted[3:]]
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_scale_is_set_once() -> None:
    loss = loss_on()
    train(loss, range(1))
    first = loss.scale.clone()
    assert (first > 0).all()
    train(loss, range(1, 4))
    assert torch.equal(loss.scale, first)


@pytest.mark.parametrize("how", ["eval", "no_grad"])
def test_nothing_is_remembered_while_evaluating(how: str) -> None:
    loss = loss_on()
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    if how == "eval":
        loss.eval()(*batch(0))
    else:
        with torch.no_grad():
            loss(*batch(0))
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_memory_may_be_written_to_before_the_backward_pass() -> None:
    loss = loss_on()
    student = batch(0)[0].requires_grad_()
    value = loss(student, *batch(0)[1:])
    loss(*batch(1))
    value.backward()
    assert student.grad is not None
    assert loss.embed_teacher.weight.grad is not None


def test_initial_memory_and_mark() -> None:
    loss = CRD(student_shape=(4,), teacher_shape=(6,), class_of=CLASS_OF, negatives=3)
    bound = math.sqrt(3 / 128)
    for memory in (loss.memory_student, loss.memory_teacher):
        assert memory.shape == (16, 128)
        assert memory.abs().max() <= bound
        assert abs(float(memory.std()) - bound / math.sqrt(3)) < 0.1 * bound
    assert crd.relational
    assert LOSSES.describe("crd").settings["negatives"].default == 16384


def test_learning_brings_matching_images_together() -> None:
    loss = loss_on()
    values = [float(v) for v in train(loss, range(60))]
    assert sum(values[-10:]) < 0.9 * sum(values[:10])


def test_what_makes_no_contrast_is_refused() -> None:
    with pytest.raises(DataError, match=r"16 training images are of 1 class"):
        loss_on(torch.zeros(16, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"needs vectors, got a student feature of shape \(4, 2, 2\)"):
        CRD(student_shape=(4, 2, 2), teacher_shape=(6,), class_of=CLASS_OF)
    with pytest.raises(DataError, match=r"index runs from 0 to 16.*16 images"):
        loss_on()(draw(2, 4, seed=0), draw(2, 6, seed=1), torch.tensor([0, 16]))
    with pytest.raises(ShapeError, match=r"student_features \(n, 4\).*got \(2, 5\)"):
        loss_on()(draw(2, 5, seed=0), draw(2, 6, seed=1), torch.tensor([0, 1]))
    bank = draw(IMAGES, DIM, seed=0)
    with pytest.raises(ShapeError, match="do not belong together"):
        crd_loss(bank[:2], bank[:2], bank, bank, rows(3), torch.zeros(2))
    with pytest.raises(ConfigError, match="temperature must be above 0"):
        CRD(student_shape=(4,), teacher_shape=(6,), class_of=CLASS_OF, temperature=0.0)
