"""What an evaluator knows of each case after postprocessing."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine

__all__ = ["engine_items"]


def engine_items(engine: Engine) -> list[dict[str, Any]]:
    """Return the cases of the current iteration, each with the entries of its batch and of its output.

    MONAI's evaluator keeps what came from the data loader in `engine.state.batch` and what is new in
    `engine.state.output`; where a name stands in both, the output counts.
    """
    outputs: Any = engine.state.output
    batch: Any = engine.state.batch
    if not isinstance(batch, list) or len(batch) != len(outputs):
        batch = [{}] * len(outputs)
    return [{**before, **after} for before, after in zip(batch, outputs, strict=True)]
