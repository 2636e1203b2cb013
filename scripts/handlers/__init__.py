"""Thin Ignite handlers; configs name each by its module, so that a training does not import the evaluation."""
