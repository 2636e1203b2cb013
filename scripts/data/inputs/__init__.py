"""Scans as users name them: files, folders, BIDS data sets and CSV tables, as MONAI datalists."""
