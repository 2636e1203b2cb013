"""What developers and releases need: ablations, benchmarks, folds, packages. None of it is packed into the bundle."""
