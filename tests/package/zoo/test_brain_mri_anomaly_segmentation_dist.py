# Belongs into ci/unit_tests/ of Project-MONAI/model-zoo, and runs from that repository's root.
# ruff: noqa: PT009 (the zoo's tests are unittest's)

import os
import unittest

import torch
from parameterized import parameterized
from test_brain_mri_anomaly_segmentation import BUNDLE_ROOT, TEST_CASE_TRAIN, PhantomTestCase
from utils import export_config_and_run_mgpu_cmd


class TestBrainMriAnomalySegmentationMGPU(PhantomTestCase):
    """Train one epoch with a process for each GPU, or with two on the CPU."""

    @parameterized.expand([TEST_CASE_TRAIN])
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
