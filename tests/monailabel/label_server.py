"""A MONAI Label server with our packaged bundle, as a reader would set it up, and what to ask of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil

MODEL = "brain_mri_anomaly_segmentation"
START = Path(__file__).parents[2] / "tools" / "monai_label" / "start.py"
START_SECONDS = 900
BIN = Path(sys.executable).parent


def environment(folder: Path) -> dict[str, str]:
    """Return the variables for a process of this environment that keeps its files in `folder`."""
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    changed = {"PATH": path, "PYTHONPATH": "", "MONAI_LABEL_SESSION_PATH": str(folder / "sessions")}
    return {**os.environ, "OMP_NUM_THREADS": "1", **changed}


def install_app(folder: Path, package: Path) -> Path:
    """Copy the app `monaibundle` into a folder, unpack our bundle into its models, and return the bundle's folder."""
    command = [
        sys.executable,
        str(START),
        "apps",
        "--download",
        "--name",
        "monaibundle",
        "--output",
        str(folder / "apps"),
    ]
    subprocess.run(command, env=environment(folder), check=True, capture_output=True, timeout=1200)
    models = folder / "apps" / "monaibundle" / "model"
    models.mkdir(exist_ok=True)
    with zipfile.ZipFile(package) as archive:
        archive.extractall(models)
    return models / MODEL


@dataclass
class LabelServer:
    """A running server on loopback."""

    url: str
    process: psutil.Process
    bundle: Path
    studies: Path
    log: Path

    def post(self, image: str, params: dict[str, Any], output: str = "all") -> tuple[int, bytes]:
        """Send /infer/ as OHIF does, and return status and body."""
        boundary = "part-of-a-form"
        text = f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\n\r\n{json.dumps(params)}\r\n--{boundary}--\r\n'
        request = urllib.request.Request(
            f"{self.url}/infer/{MODEL}?image={image}&output={output}",
            data=text.encode(),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=3000) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def network_runs(self) -> int:
        """Return how often the server has run the network: MONAI Label logs a line each time."""
        return self.log.read_text(errors="replace").count("Inferer:: ")

    def memory_mib(self) -> float:
        """Return the resident memory of the server."""
        return self.process.memory_info().rss / 2**20


def start_server(folder: Path, bundle: Path, studies: Path) -> tuple[subprocess.Popen, LabelServer]:
    """Start a server on a free port, with the command of bundle/docs/monai_label.md, and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        str(START),
        "start_server",
        "--app",
        str(bundle.parent.parent),
        "--studies",
        str(studies),
    ]
    command += ["--conf", "models", MODEL, "--conf", "zoo_source", "local", "--conf", "skip_trainers", "true"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as out:
        started = subprocess.Popen(command, env=environment(folder), cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    while time.monotonic() < end and started.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/info/", timeout=60):
                return started, LabelServer(url, psutil.Process(started.pid), bundle, studies, log)
        except OSError:
            time.sleep(1)
    started.kill()
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def command_line_mask(server: LabelServer, image: str, out: Path, *options: str) -> nib.Nifti1Image:
    """Return the lesion mask that the packaged bundle's command line makes of a scan that the server has."""
    scan = server.studies / f"{image}.nii.gz"
    command = [sys.executable, "-m", "scripts.cli.analyze", str(scan), str(out), *options]
    command += ["--save", "lesion_mask", "--picture", "false", "--report", "false", "--progress", "false"]
    ran = subprocess.run(command, env=environment(out), cwd=server.bundle, capture_output=True, text=True, timeout=1800)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return nib.load(next(out.rglob("*lesion_mask.nii.gz")))


def dice(first: nib.Nifti1Image, second: nib.Nifti1Image) -> float:
    """Return the Dice coefficient of two masks on one grid, of which at least one holds a voxel."""
    a, b = (np.asarray(image.dataobj) > 0 for image in (first, second))
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))
