"""The shipped network outside of Python: torch.export and ONNX give the same slices."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.networks import load_weights

NAMES = ["noised", "timestep", "slice"]


@pytest.fixture(scope="module")
def network(root: Path) -> torch.nn.Module:
    """The network of inference.yaml with the shipped weights, float32."""
    parser = ConfigParser()
    parser.read_config(str(root / "bundle" / "configs" / "inference.yaml"))
    parser["network_def#autocast_dtype"] = None
    return load_weights(parser.get_parsed_content("network_def"), root / "bundle" / "models" / "model.pt").eval()


def _inputs(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noised, clean = torch.rand(2, 1, 1, 96, 96, generator=torch.Generator().manual_seed(step))
    return noised, torch.tensor([step]), clean


@torch.no_grad()
def test_an_exported_program_reconstructs_the_same_slices(network: torch.nn.Module, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(network, _inputs(450)), tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    for step in (10, 450, 900):
        torch.testing.assert_close(program(*_inputs(step)), network(*_inputs(step)), atol=1e-5, rtol=0)


@torch.no_grad()
def test_onnx_runtime_reconstructs_the_same_slices(network: torch.nn.Module, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, _inputs(450), path, input_names=NAMES, output_names=["reconstruction"], dynamo=True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for step in (10, 450, 900):
        inputs = {name: tensor.numpy() for name, tensor in zip(NAMES, _inputs(step), strict=True)}
        (found,) = session.run(None, inputs)
        # another library's convolutions, over some 40 layers in float32
        torch.testing.assert_close(torch.from_numpy(found), network(*_inputs(step)), atol=1e-4, rtol=0)
