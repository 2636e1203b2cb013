"""Gathering visible positions and putting them back loses nothing, and statistics over them see nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from scripts.errors import InputError
from scripts.ops import gather_visible, hide_masked, scatter_visible


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 4, 5, 6, generator=generator, dtype=torch.float64)
    visible = torch.rand(3, 5, 6, generator=generator) > 0.6
    return features, visible


def test_gathering_takes_the_vectors_in_the_order_slice_row_column(maps):
    features, visible = maps
    expected = [
        features[b, :, row, column] for b in range(3) for row in range(5) for column in range(6) if visible[b, row, column]
    ]
    assert torch.equal(gather_visible(features, visible), torch.stack(expected))


def test_scattering_is_the_inverse_with_zeros_or_a_token_between(maps):
    features, visible = maps
    values = gather_visible(features, visible)
    back = scatter_visible(values, visible)
    assert torch.equal(back, torch.where(visible[:, None], features, 0.0))
    assert back.is_contiguous()
    token = torch.arange(4.0)
    filled = scatter_visible(values, visible, fill=token)
    assert torch.equal(filled, torch.where(visible[:, None], features, token.double()[:, None, None]))


def test_gradients_reach_the_visible_positions_and_the_token(maps):
    features, visible = maps
    features.requires_grad_()
    token = torch.zeros(4, requires_grad=True, dtype=torch.float64)
    scatter_visible(gather_visible(features, visible), visible, fill=token).sum().backward()
    assert torch.equal(features.grad, visible[:, None].expand_as(features).double())
    assert token.grad.tolist() == [float((~visible).sum())] * 4


def test_a_batch_norm_over_gathered_positions_has_their_statistics_alone(maps):
    features, visible = maps
    norm = nn.BatchNorm1d(4, momentum=0.3).double()
    with torch.no_grad():
        output = norm(gather_visible(features, visible)).numpy()
    for channel in range(4):
        values = features[:, channel].numpy()[visible.numpy()]
        expected = (values - values.mean()) / np.sqrt(values.var() + norm.eps)
        np.testing.assert_allclose(output[:, channel], expected, rtol=1e-12)  # float64: only the summation order differs
        assert float(norm.running_mean[channel]) == pytest.approx(0.3 * values.mean(), rel=1e-12)
        assert float(norm.running_var[channel]) == pytest.approx(0.7 + 0.3 * values.var(ddof=1), rel=1e-12)


@pytest.mark.parametrize("value", [0.0, -torch.inf])
def test_masked_positions_are_hidden_whatever_they_hold(maps, value):
    features, visible = maps
    features.masked_fill_(~visible[:, None], torch.nan)
    hidden = hide_masked(features, visible, value=value)
    assert (hidden.movedim(1, -1)[~visible] == value).all()
    assert torch.equal(gather_visible(hidden, visible), gather_visible(features, visible))


@pytest.mark.parametrize("visible", [torch.ones(3, 5, 5, dtype=torch.bool), torch.ones(3, 5, 6), torch.ones(1, 5, 6, dtype=torch.bool)])
def test_a_mask_that_does_not_fit_is_refused(maps, visible):
    for function in (gather_visible, hide_masked):
        with pytest.raises(InputError, match=r"`visible` must be a boolean mask of the shape \(3, 5, 6\) of the feature maps, got torch"):
            function(maps[0], visible)
