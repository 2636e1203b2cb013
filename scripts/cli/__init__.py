"""Commands for users; each is a module: `python -m scripts.cli.analyze --help`."""
