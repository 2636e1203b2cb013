"""Compare settings of the maps on validation cases: `python -m tools.ablation --help`."""

from tools.ablation.run import main

main()
