"""A Compose that says which step it is at and remembers how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai.transforms import Compose
from scripts.scans.volume import add_note, read_notes
from tqdm import tqdm

__all__ = ["STEP_NAMES", "NamedSteps", "step_name"]

STEP_NAMES = {
    "LoadImaged": "loading",
    "LoadScansd": "loading",
    "BrainExtractiond": "brain extraction",
    "CorrectBiasd": "bias correction",
    "AlignToTemplated": "alignment",
    "AlignCased": "alignment",
    "QualityControld": "quality control",
    "CurvatureFlowDenoised": "denoising",
    "AverageVoxelsd": "resampling",
    "ToWorkingGridd": "resampling",
    "Invertd": "back to the scan's grid",
}
_OTHER = "preparation"


def step_name(transform: Callable) -> str:
    """Return what a transform is called in progress bars and results; `preparation` for the small ones."""
    return STEP_NAMES.get(type(transform).__name__, _OTHER)


class NamedSteps(Compose):
    """Run transforms one after the other, with a progress bar that names the step, and note the seconds of each.

    The seconds go into the case's note `seconds`, a number a step name; steps of one name add up. Inverting works as
    with any Compose.

    Args:
        transforms: what to run.
        progress: whether to show the bar, on a terminal only; it disappears when the last step is done.
    """

    def __init__(self, transforms: Sequence[Callable] | Callable | None = None, *, progress: bool = True) -> None:
        super().__init__(transforms)
        self.progress = progress

    def __call__(  # type: ignore[override]
        self, input_: Any, start: int = 0, end: int | None = None, threading: bool = False, lazy: bool | None = None
    ) -> Any:
        """Return the case after the transforms `start` to `end`."""
        data, last = input_, len(self.transforms) if end is None else end
        seconds: dict[str, float] = {}
        case = str(input_.get("case", "")) if isinstance(input_, Mapping) else ""
        with tqdm(total=last - start, disable=None if self.progress else True, leave=False, unit="step") as bar:
            for index in range(start, last):
                name = step_name(self.transforms[index])
                bar.set_description(f"{case}: {name}" if case else name)
                began = time.perf_counter()
                data = super().__call__(data, start=index, end=index + 1, threading=threading, lazy=lazy)
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
                bar.update()
        if isinstance(data, dict):
            before = read_notes(data).get("seconds", {})
            add_note(data, "seconds", **{name: before.get(name, 0.0) + value for name, value in seconds.items()})
        return data
