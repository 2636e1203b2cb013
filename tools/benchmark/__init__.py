"""Measure speed and memory of the map and of a whole scan: `python -m tools.benchmark --help`."""
