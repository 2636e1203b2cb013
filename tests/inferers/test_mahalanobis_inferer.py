"""The inferer: shapes, repeatability, the mask, and what it asks of a network."""

from __future__ import annotations

import sys

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from scripts.errors import InputError
from scripts.inferers import OUTPUT_NAMES, MahalanobisInferer, Polarity

# Convolutions pick another algorithm, so another order of float32 sums, for another batch size. All maps are of size one.
BATCH_TOLERANCE = {"atol": 1e-5, "rtol": 0.0}
PLAIN = ("reconstruction", "uncertainty", "brain_mask", "mean_l1")


@pytest.fixture
def make(scheduler):
    """Factory: an inferer that is quick and quiet unless it is given options."""

    def _make(**options):
        return MahalanobisInferer(scheduler, **({"num_samples": 3, "progress": False} | options))

    return _make


@pytest.mark.parametrize("kind", ["unet", "without encode"])
def test_one_channel_for_each_output_in_the_order_asked_for(make, volumes, network, recorder, kind):
    images, masks = volumes
    outputs = ["mahalanobis_map", "reconstruction", "anomaly_map"]
    result = make(outputs=outputs)(images, network if kind == "unet" else recorder(), masks)
    assert result.shape == (2, 3, *images.shape[2:])
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    turned = make(outputs=outputs[::-1])(images, network if kind == "unet" else recorder(), masks)
    assert torch.equal(turned.flip(1), result)


def test_every_output_works_and_is_zero_outside_the_mask(make, volumes, network):
    images, masks = volumes
    result = make(outputs=OUTPUT_NAMES)(images, network, masks)
    assert result.shape[1] == len(OUTPUT_NAMES)
    for name, channel in zip(OUTPUT_NAMES, result.unbind(1), strict=True):
        assert torch.isfinite(channel).all(), name
        assert not channel[masks[:, 0] == 0].any(), name
        assert channel[masks[:, 0] > 0].max() > 0, name
    assert torch.equal(result[:, OUTPUT_NAMES.index("brain_mask")], masks[:, 0].float())


@pytest.mark.parametrize("memory_budget_mb", [0.001, 1.0, 1e6])
def test_same_seed_gives_the_same_map_whatever_the_batch_size(make, volumes, network, memory_budget_mb):
    images, masks = volumes
    expected = make(outputs=PLAIN)(images, network, masks)
    again = make(outputs=PLAIN)(images, network, masks)
    assert torch.equal(again, expected)
    torch.testing.assert_close(
        make(outputs=PLAIN, memory_budget_mb=memory_budget_mb)(images, network, masks), expected, **BATCH_TOLERANCE
    )


def test_another_seed_gives_another_map(make, volumes, network):
    images, masks = volumes
    first, second = (make(outputs=["anomaly_map"], seed=seed)(images, network, masks) for seed in (1, 2))
    assert (first - second).abs().max() > 1e-3


def test_a_batch_equals_its_volumes_one_by_one(make, volumes, network):
    images, masks = volumes
    inferer = make(outputs=("anomaly_map", *PLAIN))
    alone = [inferer(images[i : i + 1], network, masks[i : i + 1]) for i in range(2)]
    assert torch.equal(inferer(images, network, masks), torch.cat(alone))


def test_the_global_random_state_is_neither_read_nor_changed(make, volumes, network):
    images, masks = volumes
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        results.append(make(noise="gaussian")(images, network, masks))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*results)


def test_default_mask_is_the_voxels_that_are_not_zero(make, volumes, network):
    images, masks = volumes
    assert torch.equal(images != 0, masks > 0)
    assert torch.equal(make()(images, network), make()(images, network, masks))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_a_mask_may_have_any_type(make, volumes, network, dtype):
    images, masks = volumes
    assert torch.equal(make()(images, network, masks.to(dtype)), make()(images, network, masks))


def test_image_outside_the_mask_shows_only_through_the_network(make, volumes, recorder):
    images, masks = volumes
    masks = masks.clone()
    masks[:, :, :8] = 0
    result = make(outputs=PLAIN)(images, recorder(), masks)
    assert not result[:, :, :8].any()
    assert result[:, :, 8:].any()


def test_metatensors_give_the_same_numbers(make, volumes, network):
    images, masks = volumes
    result = make()(MetaTensor(images), network, MetaTensor(masks))
    assert torch.equal(torch.as_tensor(result), make()(images, network, masks))


@pytest.mark.parametrize("fails", [False, True])
def test_training_mode_of_every_module_is_restored(make, volumes, fails):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.trained, self.frozen = nn.Dropout(0.5), nn.Dropout(0.5)

        def forward(self, x, timesteps, context):
            assert not any(module.training for module in self.modules())
            return 1 / 0 if fails else self.trained(self.frozen(context + 0.1 * x))

    network = Network().train()
    network.frozen.eval()
    if fails:
        with pytest.raises(ZeroDivisionError):
            make()(volumes[0], network)
    else:
        make()(volumes[0], network)
    assert [network.training, network.trained.training, network.frozen.training] == [True, True, False]


@pytest.mark.parametrize("residual", ["ssim", "l1"])
def test_a_network_that_returns_the_clean_slice_leaves_no_residual(make, volumes, recorder, residual):
    images, masks = volumes
    outputs = ["reconstruction", "uncertainty", "anomaly_map", "mean_l1", "single"]
    result = make(outputs=outputs, residual=residual)(images, recorder(mix=0.0), masks)
    # x → 2x − 1 → x rounds to float32 twice.
    torch.testing.assert_close(result[:, :1], images, atol=1e-6, rtol=0)
    assert result[:, 1:].abs().max() < 1e-6


def test_autocast_networks_give_float32_maps_that_are_close(make, volumes, network):
    images, masks = volumes
    exact = make(outputs=["reconstruction"])(images, network, masks)
    network.autocast_dtype = "bfloat16"
    fast = make(outputs=["reconstruction"])(images, network, masks)
    assert fast.dtype == torch.float32
    # bfloat16 has 8 significant bits, and reconstructions are within [0, 1].
    assert 0 < (fast - exact).abs().mean() < 0.02


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False)])
def test_progress_bar_counts_slices(make, volumes, recorder, capsys, monkeypatch, progress, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # bars are for terminals
    images, masks = volumes
    make(progress=progress)(images[:1], recorder(), masks[:1])
    slices = int((masks[0, 0] > 0).any(0).any(0).sum())
    error = capsys.readouterr().err
    assert ("reconstructing slices" in error) is shown
    assert (f"{3 * slices}/{3 * slices}" in error) is shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 1}, "`num_samples` must be at least 2, got 1"),
        ({"timestep": 1000}, "`timestep` must be whole numbers from 0 to 999, got 1000"),
        ({"timestep": [500, -1]}, r"`timestep` must be whole numbers from 0 to 999, got \[500, -1\]"),
        ({"timestep": []}, r"`timestep` must be whole numbers from 0 to 999, got \[\]"),
        ({"timestep": [500.5]}, r"`timestep` must be whole numbers from 0 to 999, got \[500.5\]"),
        ({"noise": "pink"}, r"`noise` must be one of simplex, gaussian, got 'pink'"),
        ({"memory_budget_mb": 0}, "`memory_budget_mb` must be positive, got 0"),
        ({"outputs": ["map"]}, r"`outputs` must be some of \['anomaly_map', .*, got \['map'\]"),
        ({"outputs": []}, r"`outputs` must be some of .*, got \[\]"),
        ({"k": 10, "scores": 1}, "there is no option k"),
        ({"score": "dense"}, "`score` must be one of reference, whitened, conditional, diagonal, got 'dense'"),
        ({"extent": "brain"}, "`extent` must be one of slice, volume, got 'brain'"),
        ({"residual": "l3"}, "`residual` must be one of ssim, l1, l2, none, got 'l3'"),
        ({"polarity": "grey"}, "`polarity` must be one of dark, bright, got 'grey'"),
        ({"regularization": 0}, r"`regularization` must be a number above 0 and at most 1000000 \(squared intensity\), got 0"),
        ({"smoothing_sigma": -1}, r"`smoothing_sigma` must be a number from 0 to 20 \(voxels\), got -1"),
        ({"ssim_sigma": 0}, "`ssim_sigma` must be a number above 0 and at most 20, or a list of one or more .*, got 0"),
        ({"median_size": 2}, "`median_size` must be 0 or an odd whole number from 1 to 31, got 2"),
        ({"erosion": -1}, r"`erosion` must be a whole number from 0 to 20 \(voxels\), got -1"),
    ],
)
def test_options_are_refused_before_any_work(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_shapes_that_do_not_fit_are_refused(make, volumes, recorder):
    images, masks = volumes
    for wrong in (images[:, 0], images.expand(-1, 2, -1, -1, -1), images[..., 0]):
        with pytest.raises(ValueError, match=r"`inputs` must be \[B, 1, H, W, D\], got shape \(2, "):
            make()(wrong, recorder(), masks)
    with pytest.raises(
        ValueError, match=r"`brain_mask` must have the shape \(2, 1, 16, 16, 10\), got \(2, 1, 16, 16, 9\)"
    ):
        make()(images, recorder(), masks[..., 1:])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_volumes_that_cannot_be_used_are_refused_before_any_is_reconstructed(make, volumes, recorder, value):
    images, masks = volumes
    network, bad = recorder(), images.clone()
    bad[1, 0, 8, 8, 5] = value
    with pytest.raises(InputError, match=r"the volume holds NaN or infinite values\. Replace them"):
        make()(bad, network, masks)
    empty = masks.clone()
    empty[1] = 0
    with pytest.raises(InputError, match=r"the brain mask is empty\. Give a mask with the brain in it"):
        make()(images, network, empty)
    with pytest.raises(InputError, match="the brain mask is empty"):
        make()(images * 0, network)
    assert not network.calls


def test_lesions_are_dark_in_t1_and_bright_in_t2() -> None:
    assert Polarity.of("t1") is Polarity.DARK
    assert Polarity.of("t2") is Polarity.BRIGHT
    with pytest.raises(InputError, match="`modality` must be one of t1, t2, got 'pd'"):
        Polarity.of("pd")
