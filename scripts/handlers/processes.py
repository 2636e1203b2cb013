"""What the processes of one evaluation tell each other."""

from __future__ import annotations

from typing import TypeVar

import ignite.distributed as idist

__all__ = ["gathered"]

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """Return the value of every process, in the order of their ranks; every process must call this.

    Args:
        value: anything that can be pickled.
    """
    if idist.get_world_size() == 1:
        return [value]
    # Ignite takes numbers, texts and tensors apart; inside a tuple they are objects like any other.
    parts: list[tuple[T]] = idist.all_gather((value,))  # type: ignore[assignment]
    return [part[0] for part in parts]
