"""Command-line tools of the bundle."""
