"""Gradients are clipped between the backward pass and the step, with and without loss scaling."""

from __future__ import annotations

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import nn

from scripts.handlers.training import GradientClip


def train(max_norm, *, scaler=None):
    """One SGD step of size 1; returns the step taken, the handler's norm and the gradient without clipping."""
    torch.manual_seed(0)
    network = nn.Linear(5, 1)
    image, label = torch.randn(8, 5), 100 * torch.randn(8, 1)
    before = torch.cat([parameter.detach().flatten().clone() for parameter in network.parameters()])
    loss = nn.functional.mse_loss(network(image), label)
    gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))])
    trainer = SupervisedTrainer(
        torch.device("cpu"),
        1,
        [{"image": image, "label": label}],
        network,
        torch.optim.SGD(network.parameters(), lr=1.0),
        nn.MSELoss(),
        train_handlers=[GradientClip(network, max_norm=max_norm)],
    )
    if scaler is not None:
        trainer.scaler, trainer.amp = scaler, True
        trainer.amp_kwargs = {"enabled": False}
        super(SupervisedTrainer.__mro__[1], trainer).run()  # the trainer's own `run` would set a CUDA scaler
    else:
        trainer.run()
    after = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    return before - after, trainer.state.gradient_norm, gradient


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e6])
def test_the_step_has_the_gradients_direction_and_at_most_the_norm(max_norm):
    step, norm, gradient = train(max_norm)
    assert norm == pytest.approx(float(gradient.norm()), rel=1e-5)
    expected = gradient * min(1.0, max_norm / float(gradient.norm()))
    # Weights of size 0.4 to 100 less and plus the step, in float32; torch divides by norm + 1e-6.
    torch.testing.assert_close(step, expected, rtol=1e-4, atol=1e-5)


def test_scaled_gradients_are_unscaled_first():
    step, norm, gradient = train(0.5, scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    assert norm == pytest.approx(float(gradient.norm()), rel=1e-5)
    torch.testing.assert_close(step, 0.5 * gradient / gradient.norm(), rtol=1e-4, atol=1e-5)


def test_it_listens_to_the_end_of_the_backward_pass():
    network = nn.Linear(2, 1)
    trainer = SupervisedTrainer(
        torch.device("cpu"), 1, [{}], network, torch.optim.SGD(network.parameters(), 1.0), nn.MSELoss()
    )
    handler = GradientClip(network)
    handler.attach(trainer)
    assert trainer.has_event_handler(handler, IterationEvents.BACKWARD_COMPLETED)


@pytest.mark.parametrize("max_norm", [0, -1.0])
def test_a_norm_that_is_not_positive_is_refused(max_norm):
    with pytest.raises(ValueError, match=f"`max_norm` must be positive, got {max_norm}"):
        GradientClip(nn.Linear(2, 1), max_norm=max_norm)
