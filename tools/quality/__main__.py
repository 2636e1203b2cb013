"""Show what quality control says of lesions and of wrong contrasts: `python -m tools.quality --help`."""

from tools.quality.command import main

main()
