"""Batch norm over processes is torch's own batch norm where there is one process."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from limbeck.engine.gather import gathered
from limbeck.engine.sync_norm import SyncedBatchNorm, synchronised


def test_one_process_is_left_alone():
    part = torch.randn(3, 2)
    assert gathered(part) is part


def test_layers_change_their_class_and_nothing_else(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    twin = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    twin.load_state_dict(net.state_dict())
    seen = []
    net[1].register_forward_hook(lambda *_: seen.append(0))
    synchronised(net)
    assert isinstance(net[1], SyncedBatchNorm)
    assert list(net.state_dict()) == list(twin.state_dict())
    images = torch.randn(5, 3, 6, 6)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        torch.testing.assert_close(net(images), twin(images))
        net.eval(), twin.eval()
        torch.testing.assert_close(net(images), twin(images))
    finally:
        dist.destroy_process_group()
    assert len(seen) == 2
    torch.testing.assert_close(net.state_dict(), twin.state_dict())
