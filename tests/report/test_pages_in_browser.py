"""The pages in Chromium, opened from disk: the viewer starts, and tables and names behave."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from scripts.report.pages import write_index_page
from scripts.report.scan_page import write_scan_page
from tests.report.conftest import WICKED

pytestmark = pytest.mark.slow
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
QUIET = (
    "--no-sandbox", "--disable-gpu-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture
def dump(tmp_path):
    """Open a page and return its document as HTML once its scripts have run."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium, which is not installed")

    def run(path, *, webgl=True):
        options = WEBGL if webgl else ("--disable-gpu", "--disable-software-rasterizer")
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [CHROMIUM, "--headless=new", *QUIET, *options, profile, "--window-size=900,900"]
        command += ["--virtual-time-budget=60000", "--dump-dom", path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout

    return run


@pytest.fixture
def report(tmp_path, scan_result, scan_volumes):
    path = tmp_path / "report.html"
    write_scan_page(path, result=scan_result, volumes=scan_volumes[0], affine=scan_volumes[1])
    return path


def output(document, name):
    return re.search(rf'<output id="{name}"[^>]*>([^<]*)</output>', document).group(1)


def test_the_viewer_starts_at_the_peak_of_the_first_region_and_reads_its_values(dump, report, scan_result):
    document = dump(report)
    assert re.search(r'<body data-viewer="([^"]*)"', document).group(1) == "ready"
    centre = scan_result["regions"][0]["peak_mm"]
    shown = output(document, "position").split(" · ")[0].split(", ")
    assert [float(value) for value in shown] == pytest.approx(centre, abs=0.051)  # shown with one decimal
    assert output(document, "value-lesion_mask") == "yes"
    assert float(output(document, "value-anomaly_map")) > scan_result["threshold"]
    assert not re.search(r"<button[^>]* disabled", document)
    assert 'id="viewer-message" class="box warn" role="alert" hidden' in document
    assert WICKED not in document


def test_without_webgl2_the_page_says_so_and_keeps_its_slices(dump, report):
    document = dump(report, webgl=False)
    assert '<body data-viewer="failed: this browser has no WebGL2"' in document
    assert "The viewer could not start (this browser has no WebGL2)." in document
    assert "outlined candidate region(s)" in document


def test_the_cohorts_page_runs_its_own_script_only(dump, tmp_path, scan_result):
    write_index_page(tmp_path / "index.html", [scan_result])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    foreign = "<script>document.title = 'changed'</script>"
    (tmp_path / "index.html").write_text(page.replace("</body>", f"{foreign}</body>"), encoding="utf-8")
    document = dump(tmp_path / "index.html")
    assert "<title>Anomaly maps</title>" in document
    assert foreign in document
