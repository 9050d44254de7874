"""The training loop of the released code, replayed with our objectives and averages; and the engine's own."""

from __future__ import annotations

import pytest
import torch

from limbeck.engine import Machine
from limbeck.engine.ema import Ema
from limbeck.flow._registry import METHODS
from limbeck.flow.config import FlowTraining
from limbeck.flow.data import DataStream, Points
from limbeck.flow.fitting import fit_flow
from limbeck.flow.methods._base import Ground
from limbeck.flow.objectives import Chord, huber, l2, perceptual_huber
from limbeck.flow.times import u_shaped
from limbeck.flow.velocity import Flow
from limbeck.models.velocity import build_velocity_network
from limbeck.runs.folder import StageFolder
from limbeck.specs import Spec

CASES = {
    "train_huber": (huber, 1),
    "train_lpips_huber_divt": (perceptual_huber, 1),
    "train_l2_squared_acc2": (l2, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_six_steps_of_the_released_loop(recorded, recorded_net, stand_in, name):
    arrays = recorded(name)
    objective, accumulation = CASES[name]
    distance = stand_in(arrays) if "percep_lin1" in arrays else None
    net = recorded_net(arrays, prefix="init_")
    flow = Flow(net, "edm" if "edm" in name else "velocity", image_shape=(3, 8, 8))
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    ema = Ema(flow, 0.9, start=3)
    batches = len(arrays["x"])
    for number in range(batches):
        chord = Chord(arrays["x"][number], arrays["z"][number], arrays["t"][number])
        loss = objective(chord, flow(chord.point, chord.t), distance).mean() / accumulation
        assert float(loss.detach()) == pytest.approx(float(arrays["losses"][number]), rel=2e-4)
        loss.backward()
        if (number + 1) % accumulation == 0:
            step = number // accumulation
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * min(step, 2) / 3  # the released warm-up, which never reaches its end
            optimizer.step()
            optimizer.zero_grad()
            ema.update(step + 1)
    # Where all features of a place are nearly zero, making them unit-long stretches rounding errors without bound:
    # changing the resized images by one part in ten million moves these weights by 0.01 as well.
    slack = 0.02 if distance is not None else 1e-6
    for part in net.NAMES:
        torch.testing.assert_close(getattr(net, part).detach(), arrays[f"final_{part}"], rtol=2e-4, atol=slack)
        torch.testing.assert_close(ema.state[f"network.{part}"], arrays[f"ema_{part}"], rtol=2e-4, atol=slack)


def test_mixed_precision_ends_with_training(tmp_path):
    flow = Flow(build_velocity_network("mlp", image_shape=(2, 1, 1), width=8, depth=1), image_shape=(2, 1, 1))
    machine = Machine(device="cpu", precision="bfloat16")
    method = METHODS["reflow"](Ground(flow, None, u_shaped, l2, None, 2))
    stream = DataStream(Points(Spec(name="gaussian"), machine.device), batch_size=4, seed=0)
    training = FlowTraining(steps=2, batch_size=4)
    fitted = fit_flow(
        method, stream, training, machine=machine, records=StageFolder(tmp_path, "flow"), seed=0
    ).flow
    x, t = torch.randn(4, 2, 1, 1), torch.full((4,), 0.3)
    assert torch.equal(fitted(x, t), fitted.like(fitted.network)(x, t))
