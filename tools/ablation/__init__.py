"""Compare settings of the maps on validation cases: `python -m tools.ablation --help`."""
