import torch
from torch import nn

from limbeck.audit.subjects import Network, Panel, Subject
from limbeck.models.data_config import DataConfig

DATA = DataConfig((1, 4, 4), (0.5,), (0.25,))


def network():
    torch.manual_seed(0)
    return Network(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), DATA)


def test_a_network_resizes_and_normalises_and_lets_gradients_through():
    net = network()
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(net.prepared(images), (images - 0.5) / 0.25)
    assert net.prepared(torch.rand(2, 1, 9, 7)).shape == (2, 1, 4, 4)
    images.requires_grad_()
    (slope,) = torch.autograd.grad(net(images).sum(), images)
    assert slope.abs().sum() > 0
    assert not any(one.requires_grad for one in net.parameters())
    assert not net.model.training
    assert net.differentiable


def test_a_constant_image_stays_constant_when_it_is_resized():
    net = network()
    assert torch.allclose(net.prepared(torch.full((1, 1, 32, 32), 0.5)), torch.zeros(1, 1, 4, 4), atol=1e-6)


def test_outputs_that_are_more_than_logits():
    class Wordy(nn.Module):
        def forward(self, images):
            return {"logits": images.flatten(1)}

    assert Network(Wordy(), DATA)(torch.rand(2, 1, 4, 4)).shape == (2, 16)


def test_who_belongs_to_a_panel():
    def one(name, role, method=""):
        return Subject(name, role, network(), method, 0)

    panel = Panel(
        one("teacher", "teacher"),
        (one("kd-s0", "student", "kd"), one("at-s0", "student", "at"), one("kd-s1", "student", "kd")),
        (one("control-s0", "control", "control"),),
        one("foreign", "foreign"),
        (one("placebo kd-s0", "placebo", "placebo kd"),),
    )
    assert panel.methods == ("kd", "at")
    names = ["teacher", "kd-s0", "at-s0", "kd-s1", "control-s0", "placebo kd-s0"]
    assert [member.name for member in panel] == names
    assert [member.name for member in panel.learners] == names[1:]
