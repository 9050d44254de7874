"""Ways of making a small set: each improves, each resumes to the same bits, each honours earlier subsets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.dataset._registry import SYNTHESES
from limbeck.dataset.experts import ExpertRecipe, train_expert
from limbeck.dataset.flat import Flat
from limbeck.dataset.methods._base import Ground
from limbeck.dataset.methods.rded import best_crops, tiled, zero_padded
from limbeck.dataset.methods.trajectory import growing_end
from limbeck.dataset.preprocess import Normalisation
from limbeck.dataset.real import Real, Split
from limbeck.dataset.trajectories import Card, Trajectories, begin
from limbeck.errors import CheckpointError, ConfigError, ModelError
from limbeck.models import build
from limbeck.seeding import seed_everything

CLASSES, SIZE = 3, 8
SETTINGS = {
    "dm": {"batch_real": 4},
    "dc": {"rounds": 2, "passes": 1, "batch_real": 4},
    "dsa": {"rounds": 2, "passes": 1, "batch_real": 4},
    "idc": {"inner": 2, "fix_every": 3, "batch_real": 4, "real_images": 8},
    "mtt": {"steps": 3, "expert_epochs": 1, "start_epochs": (0, 2), "lr_labels": 1.0},
    "tesla": {"steps": 3, "expert_epochs": 1, "start_epochs": (0, 2)},
    "datm": {"steps": 3, "expert_epochs": 1, "start_epochs": (0, 2), "grows_from": 1, "grows_for": 3},
    "sre2l": {"iterations": 8, "lr_images": 0.1, "crop": 0.5, "jitter": 1},
    "rded": {"candidates": 8, "crops": 2, "factor": 2},
}


def split(seed: int, images: int) -> Split:
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % CLASSES
    shift = torch.randn(CLASSES, 3, 1, 1, generator=torch.Generator().manual_seed(9))
    return Split(torch.randn(images, 3, SIZE, SIZE, generator=draws) + 2 * shift[labels], labels)


@pytest.fixture(scope="module")
def real() -> Real:
    return Real(
        train=split(0, 36),
        validation=split(1, 12),
        test=split(2, 12),
        preprocess=Normalisation((0.5,) * 3, (0.25,) * 3),
        class_names=("a", "b", "c"),
        fingerprint="made up",
    )


def fresh(seed: int) -> nn.Module:
    seed_everything(seed, "weights")
    return build("convnet", depth=2, width=4, image_size=SIZE, num_classes=CLASSES)


@pytest.fixture(scope="module")
def trajectories(real, tmp_path_factory) -> Trajectories:
    folder, net = tmp_path_factory.mktemp("experts"), Flat(fresh(0))
    card = Card(
        {"name": "convnet"}, net.size, (0.0, 1.0, 2.0, 3.0), real.class_names, (3, SIZE, SIZE), "x", "n", {}
    )
    begin(folder, card, real.preprocess)
    for number in range(2):
        train_expert(
            net,
            real.train,
            ExpertRecipe(batch_size=12, lr=0.05),
            number=number,
            seed=0,
            folder=folder,
            card=card,
            start=lambda n=number: Flat(fresh(n)).start(),
        )
    return Trajectories(folder)


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )
    model(torch.randn(32, 3, SIZE, SIZE))
    return model.eval().requires_grad_(False)


@pytest.fixture
def ground(real, trajectories, teacher):
    def make(frozen: bool = False, ipc: int = 2) -> Ground:
        labels = torch.arange(CLASSES).repeat_interleave(ipc)
        rows = torch.cat([real.rows[c][:ipc] for c in range(CLASSES)])
        later = torch.cat([real.rows[c][ipc : 2 * ipc] for c in range(CLASSES)])
        return Ground(
            start=real.train.images[rows],
            labels=labels,
            real=real,
            build=fresh,
            seed=5,
            frozen=(real.train.images[later], labels) if frozen else None,
            trajectories=trajectories,
            initial=fresh,
            teacher=teacher,
        )

    return make


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("frozen", [False, True])
def test_going_on_after_a_stop_gives_the_same_bits(name, frozen, ground):
    whole, first = (SYNTHESES[name](ground(frozen), **SETTINGS[name]) for _ in range(2))
    for number in range(4):
        scalars = whole.iteration(number)
        if number < 2:
            first.iteration(number)
    assert "loss" in scalars
    second = SYNTHESES[name](ground(frozen), **SETTINGS[name])
    second.load_state(first.state())
    for number in (2, 3):
        second.iteration(number)
    assert torch.equal(second.images, whole.images)
    for key, value in whole.state().items():
        assert torch.equal(second.state()[key], value), key
    one, other = whole.learned(), second.learned()
    assert torch.equal(one.images, other.images)
    assert one.lr == other.lr
    assert (one.soft is None) == (other.soft is None)


@pytest.mark.parametrize("name", SETTINGS)
def test_images_change_and_stay_finite_and_earlier_subsets_stay(name, ground):
    begun = ground(frozen=True)
    before = begun.frozen[0].clone()
    method = SYNTHESES[name](begun, **SETTINGS[name])
    start = method.images.clone()
    for number in range(3):
        method.iteration(number)
    assert not torch.equal(method.images, start)
    assert bool(torch.isfinite(method.images).all())
    assert torch.equal(begun.frozen[0], before)
    learned = method.learned()
    assert learned.images.shape == begun.start.shape
    if learned.soft is not None:
        torch.testing.assert_close(learned.soft.sum(1), torch.ones(len(begun.labels)))


@pytest.mark.parametrize(("name", "rate"), [("dm", 1.0), ("dsa", 0.1), ("sre2l", 0.1)])
def test_the_loss_falls(name, rate, ground):
    settings = {**SETTINGS[name], "lr_images": rate} | ({"iterations": 30} if name == "sre2l" else {})
    method = SYNTHESES[name](ground(), **settings)
    found = [method.iteration(number)["loss"] for number in range(30)]
    assert sum(found[-8:]) < sum(found[:8])


def test_mtt_leads_nearer_to_the_expert(ground):
    method = SYNTHESES["mtt"](ground(), steps=5, expert_epochs=1, start_epochs=(0, 1), lr=0.1, lr_images=30.0)
    found = [method.iteration(number)["loss"] for number in range(40)]
    assert sum(found[-5:]) < 0.9 * sum(found[:5])
    assert method.learned().lr > 0


def test_the_growing_end_agrees_with_the_recorded_program(golden):
    _, a = golden("datm_upper_bound")
    for current, last, over, _, iteration, wanted in a["table"].tolist():
        assert growing_end(current, last, over, iteration) == wanted


def test_rded_agrees_with_the_recorded_program(golden, close):
    params, a = golden("rded_select_and_tile")
    score, best = best_crops(a["logits"], params["label"])
    close(score, a["score"], params)
    assert torch.equal(best, a["crop_index"])
    images = torch.arange(params["images"])
    order = score[best, images].argsort(stable=True)[: params["ipc"] * params["factor"] ** 2]
    assert torch.equal(order, a["selected_images"])
    patches = a["patches"][order, best[order]]
    close(tiled(patches, params["ipc"], params["factor"], params["size"]), a["tiles"], params)


def test_patches_are_judged_in_the_middle_of_zeros():
    found = zero_padded(torch.ones(1, 1, 2, 2), 5)
    assert found.shape == (1, 1, 5, 5)
    assert float(found.sum()) == 4
    assert float(found[0, 0, 1:3, 1:3].sum()) == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"start_epochs": (2, 2)}, "is empty"),
        ({"start_epochs": (0, 9)}, "ends at snapshot 10; the experts .* have snapshots 0 to 3"),
    ],
)
def test_intervals_without_a_segment_are_refused(settings, said, ground):
    with pytest.raises(ConfigError, match=said):
        SYNTHESES["mtt"](ground(), **settings)


def test_experts_of_another_network_are_refused(ground):
    begun = ground()
    other = Ground(
        **{
            **vars(begun),
            "build": lambda seed: build("convnet", depth=2, width=6, image_size=SIZE, num_classes=CLASSES),
        }
    )
    with pytest.raises(CheckpointError, match="parameters; the network to be matched has"):
        SYNTHESES["mtt"](other)


def test_methods_say_what_they_lack(ground):
    bare = Ground(**{**vars(ground()), "trajectories": None, "teacher": None})
    with pytest.raises(ConfigError, match="experts: <a stage"):
        SYNTHESES["mtt"](bare)
    with pytest.raises(ModelError, match="teacher: <a stage"):
        SYNTHESES["sre2l"](bare)
    with pytest.raises(ConfigError, match="nothing is published for 2 images per class"):
        SYNTHESES["dc"](bare)


def test_a_teacher_without_batch_norm_cannot_be_recovered_from(ground):
    bare = Ground(**{**vars(ground()), "teacher": nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, CLASSES))})
    with pytest.raises(ModelError, match="no batch norm with running statistics"):
        SYNTHESES["sre2l"](bare)
