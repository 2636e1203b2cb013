# Belongs into ci/unit_tests/ of Project-MONAI/model-zoo, and runs from that repository's root.
# ruff: noqa: PT009 (the zoo's tests are unittest's)

import os
import shutil
import sys
import tempfile
import unittest

from monai.bundle import ConfigWorkflow
from parameterized import parameterized

BUNDLE_ROOT = "models/brain_mri_anomaly_segmentation"
TEST_CASE_TRAIN = [
    {
        "bundle_root": BUNDLE_ROOT,
        "datasets": ["IXI"],
        "max_epochs": 1,
        "val_interval": 1,
        "slices_per_volume": 4,
        "batch_size": 2,
        "warmup_steps": 1,
        "num_workers": 0,
        # small enough to train in seconds
        "network_def#unet#num_channels": [8, 8],
        "network_def#unet#attention_levels": [False, False],
        "network_def#unet#num_head_channels": 8,
        "network_def#unet#norm_num_groups": 4,
        "network_def#encoder#block_inplanes": [4, 4, 8, 8],
        "grid_size": [32, 32, 16],
    }
]
TEST_CASE_INFER = [
    {"bundle_root": BUNDLE_ROOT, "modality": "t1", "num_samples": 2, "brain_extraction": "never", "alignment": "never"}
]


def test_order(test_name1, test_name2):
    """Train before inference."""
    return ("infer" in test_name1) - ("infer" in test_name2)


class PhantomTestCase(unittest.TestCase):
    """Has a folder with phantoms that the bundle makes."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        sys.path = [BUNDLE_ROOT, *sys.path]
        from scripts.data.phantom import write_phantom_tree

        write_phantom_tree(os.path.join(self.folder, "data"), datasets=("IXI",), shape=(32, 32, 16))

    def tearDown(self):
        shutil.rmtree(self.folder)
        sys.path.remove(BUNDLE_ROOT)


class TestBrainMriAnomalySegmentation(PhantomTestCase):
    """Train one epoch and analyse one scan."""

    def run_workflow(self, workflow_type, name, override):
        workflow = ConfigWorkflow(
            workflow_type=workflow_type,
            config_file=os.path.join(BUNDLE_ROOT, "configs", f"{name}.json"),
            logging_file=os.path.join(BUNDLE_ROOT, "configs/logging.conf"),
            meta_file=os.path.join(BUNDLE_ROOT, "configs/metadata.json"),
            dataset_dir=os.path.join(self.folder, "data"),
            output_dir=os.path.join(self.folder, "output"),
            **override,
        )
        workflow.initialize()
        missing = workflow.check_properties()
        if missing:
            raise ValueError(f"check properties for {name} config failed: {missing}")
        workflow.run()
        workflow.finalize()

    @parameterized.expand([TEST_CASE_TRAIN])
    def test_train_config(self, override):
        self.run_workflow("train", "train", override)
        self.assertTrue(os.path.isfile(os.path.join(self.folder, "output", "model.pt")))

    @parameterized.expand([TEST_CASE_INFER])
    def test_infer_config(self, override):
        import numpy as np
        from nibabel import Nifti1Image, load, save
        from scripts.data.phantom import phantom_affine, phantom_volume

        volume = np.asarray(phantom_volume((96, 96, 80), 3, "t1")[0])
        scan = os.path.join(self.folder, "scan_T1w.nii.gz")
        save(Nifti1Image((volume * 500).astype(np.int16), phantom_affine((96, 96, 80), 2.0)), scan)
        self.run_workflow("inference", "inference", {**override, "input": scan, "quality_control": False})
        mask = load(os.path.join(self.folder, "output", "scan_T1w", "scan_T1w_lesion_mask.nii.gz"))
        self.assertEqual(mask.shape, (96, 96, 80))


if __name__ == "__main__":
    loader = unittest.TestLoader()
    loader.sortTestMethodsUsing = test_order
    unittest.main(testLoader=loader)
