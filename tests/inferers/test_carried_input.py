"""The inferer as hosts call it: with an image that carries its mask and modality, and a network of theirs."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.data import MetaTensor

from scripts.inferers import MahalanobisInferer
from scripts.networks import ModalityWeights
from scripts.transforms import CarryInMetad


@pytest.fixture
def inferer(scheduler, network, tmp_path):
    """An inferer with weights for T1, those of `network`, and other ones for T2."""
    torch.save(network.state_dict(), tmp_path / "model.pt")
    other = {name: value * 0.5 for name, value in network.state_dict().items()}
    torch.save(other, tmp_path / "model_t2.pt")
    weights = ModalityWeights(copy.deepcopy(network), tmp_path)
    return MahalanobisInferer(scheduler, num_samples=2, progress=False, outputs=["reconstruction"], weights=weights)


def _carrying(volumes, modality):
    """Return an image [1, H, W, D] whose darkest brain voxels are zero and whose background is not, and its mask."""
    image, mask = volumes[0][0].clone(), volumes[1][0]
    image[(image > 0) & (image < image[mask > 0].quantile(0.1))] = 0
    image[mask == 0] = 0.01
    case = {"image": MetaTensor(image), "brain_mask": mask, "modality": modality}
    return CarryInMetad("image", names=["brain_mask", "modality"])(case)["image"], mask


def test_the_carried_mask_gives_what_the_given_one_gives(inferer, volumes, network):
    image, mask = _carrying(volumes, "t1")
    expected = inferer(image.as_tensor()[None], network, mask[None])
    assert torch.equal(torch.as_tensor(inferer(image[None], network)), expected)
    assert not torch.equal(inferer(image.as_tensor()[None], network), expected)  # the voxels that are not zero are others


def test_a_hosts_network_gets_the_weights_of_each_scans_modality(inferer, volumes, network):
    hosts = copy.deepcopy(network)
    results = [inferer(_carrying(volumes, modality)[0][None], hosts) for modality in ("t1", "t2", "t1")]
    assert torch.equal(torch.as_tensor(results[0]), torch.as_tensor(results[2]))
    assert not torch.equal(torch.as_tensor(results[0]), torch.as_tensor(results[1]))
    plain, mask = _carrying(volumes, "t1")
    assert torch.equal(torch.as_tensor(results[0]), inferer(plain.as_tensor()[None], network, mask[None]))


def test_an_image_that_carries_nothing_leaves_the_network_alone(inferer, volumes, network):
    with torch.no_grad():
        next(network.parameters()).add_(0.5)
    before = copy.deepcopy(network.state_dict())
    inferer(volumes[0][:1], network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_batch_of_two_modalities_is_refused(inferer, volumes, network):
    batch = MetaTensor(volumes[0], meta={"carried_modality": ["t1", "t2"]})
    with pytest.raises(ValueError, match=r"a batch must hold scans of one modality, got \['t1', 't2'\]"):
        inferer(batch, network)
