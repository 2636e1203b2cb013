# Belongs into ci/unit_tests/ of Project-MONAI/model-zoo, and runs from that repository's root.
# ruff: noqa: PT009 (the zoo's tests are unittest's)

import os
import shutil
import sys
import tempfile
import unittest

import torch
from parameterized import parameterized
from utils import export_config_and_run_mgpu_cmd

BUNDLE_ROOT = "models/brain_mri_anomaly_segmentation"
TEST_CASE_TRAIN_MGPU = [
    {
        "bundle_root": BUNDLE_ROOT,
        "datasets": ["IXI"],
        "max_epochs": 1,
        "val_interval": 1,
        "slices_per_volume": 4,
        "batch_size": 2,
        "warmup_steps": 1,
        "num_workers": 0,
        "network_def#unet#num_channels": [8, 8],
        "network_def#unet#attention_levels": [False, False],
        "network_def#unet#num_head_channels": 8,
        "network_def#unet#norm_num_groups": 4,
        "network_def#encoder#block_inplanes": [4, 4, 8, 8],
        "grid_size": [32, 32, 16],
    }
]


class TestBrainMriAnomalySegmentationMGPU(unittest.TestCase):
    """Train one epoch with a process for each GPU, or with two on the CPU, on phantoms that the bundle makes."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        sys.path = [BUNDLE_ROOT, *sys.path]
        from scripts.data.phantom import write_phantom_tree

        write_phantom_tree(os.path.join(self.folder, "data"), datasets=("IXI",), shape=(32, 32, 16))

    def tearDown(self):
        shutil.rmtree(self.folder)
        sys.path.remove(BUNDLE_ROOT)

    @parameterized.expand([TEST_CASE_TRAIN_MGPU])
    def test_train_mgpu_config(self, override):
        output_dir = os.path.join(self.folder, "output")
        override = {**override, "dataset_dir": os.path.join(self.folder, "data"), "output_dir": output_dir}
        export_config_and_run_mgpu_cmd(
            config_file=[os.path.join(BUNDLE_ROOT, f"configs/{name}.yaml") for name in ("train", "multi_gpu_train")],
            logging_file=os.path.join(BUNDLE_ROOT, "configs/logging.conf"),
            meta_file=os.path.join(BUNDLE_ROOT, "configs/metadata.json"),
            override_dict=override,
            output_path=os.path.join(self.folder, "train_override.json"),
            ngpu=torch.cuda.device_count() or 2,
        )
        self.assertTrue(os.path.isfile(os.path.join(output_dir, "model.pt")))


if __name__ == "__main__":
    unittest.main()
