"""Python parts of the `brain_mri_anomaly_segmentation` MONAI Bundle; its configs name them as `scripts.…`."""
