"""Pack the bundle for the Model Zoo and check the package."""
