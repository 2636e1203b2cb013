"""MONAI Label started with the bundle."""
