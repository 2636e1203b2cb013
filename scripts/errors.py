"""The one error type for input that cannot be used, and the checks of arguments that raise it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FAILED_STATUS",
    "USAGE_STATUS",
    "InputError",
    "ScansFailedError",
    "check_choice",
    "check_finite",
    "check_non_negative",
    "check_odd",
    "check_positive",
    "check_scales",
    "check_volumes",
    "check_whole",
    "end_with_the_reason",
    "reason",
]

Choice = TypeVar("Choice", bound=StrEnum)
USAGE_STATUS, FAILED_STATUS = 2, 1  # what a command ends with: it was asked wrongly, or some of its scans failed


class InputError(ValueError):
    """Report user input that cannot be used: which file, what is wrong with it and what to do about it.

    Args:
        what: what is wrong, as in "`modality` must be t1 or t2, got 'flair'".
        path: the file or folder that the problem is in, where there is one.
        fix: what the user can do about it.

    The parts are kept as attributes of the same names, and the message reads "PATH: WHAT. FIX".

    Attributes:
        raised_as: a host's way to have every error, those of subclasses too, raised as a kind of its own: it is given
            the class that was called and returns a subclass of it. None leaves the class as it is.
    """

    raised_as: ClassVar[Callable[[type[InputError]], type[InputError]] | None] = None

    def __new__(cls, *_: object, **__: object) -> Self:
        """Make an error of the class that was called, or of the host's kind of it."""
        kind = cls if InputError.raised_as is None else InputError.raised_as(cls)
        return super().__new__(kind)  # type: ignore[return-value]

    def __init__(  # noqa: B042 - what it was made of stands in its attributes
        self, what: str, *, path: str | PathLike[str] | None = None, fix: str | None = None
    ) -> None:
        """Compose the message from its parts."""
        self.what, self.path, self.fix = what, path, fix
        message = what if path is None else f"{path}: {what}"
        super().__init__(f"{message.rstrip('.')}. {fix}" if fix else message)


class ScansFailedError(InputError):
    """Report at the end of a run that some of its scans, cases or folds have no result; the others have."""


def check_choice(kind: type[Choice], value: object, name: str) -> Choice:
    """Return the member of `kind` that `value` names.

    Args:
        kind: the enumeration of valid names.
        value: a member or its name.
        name: the argument's name, for the message.

    Raises:
        InputError: when `value` is not a member; the message lists those that are.
    """
    try:
        return kind(str(value))
    except ValueError:
        raise InputError(f"`{name}` must be one of {', '.join(kind)}, got {value!r}") from None


def check_whole(value: object, name: str, *, least: int) -> None:
    """Raise `InputError` unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"`{name}` must be a whole number from {least} on, got {value!r}")


def check_positive(value: float, name: str) -> None:
    """Raise `InputError` unless `value` is a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"`{name}` must be a finite number above zero, got {value!r}")


def check_scales(value: float | Sequence[float], name: str) -> list[float]:
    """Return one scale or several as a list; raise `InputError` unless each is a finite number above zero."""
    scales = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not scales or any(isinstance(scale, bool | str) for scale in scales):
        raise InputError(f"`{name}` must be a number above zero or several, got {value!r}")
    for scale in scales:
        check_positive(scale, name)
    return scales


def check_non_negative(value: float, name: str) -> None:
    """Raise `InputError` unless `value` is zero or a finite number above it."""
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"`{name}` must be zero or a finite number above it, got {value!r}")


def check_odd(value: int, name: str) -> None:
    """Raise `InputError` unless `value` is an odd whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % 2 == 0:
        raise InputError(f"`{name}` must be an odd whole number of at least 1, got {value!r}")


def check_volumes(**volumes: Tensor) -> None:
    """Raise `InputError` unless all tensors are `[S, H, W]` of one shape, none empty, on one device.

    Args:
        volumes: the tensors by argument name; the first one sets the shape and the device.
    """
    (first, reference), *others = volumes.items()
    if reference.ndim != 3 or reference.numel() == 0:
        raise InputError(f"`{first}` must be a non-empty [S, H, W] tensor, got shape {tuple(reference.shape)}")
    for name, volume in others:
        if volume.shape != reference.shape:
            shapes = f"{tuple(reference.shape)}, got {tuple(volume.shape)}"
            raise InputError(f"`{name}` must have the shape of `{first}`, {shapes}")
        if volume.device != reference.device:
            raise InputError(f"`{name}` must be on the device of `{first}`, {reference.device}, got {volume.device}")


def check_finite(**tensors: Tensor) -> None:
    """Raise `InputError` for the first tensor that holds a NaN or an infinity, and say how many it holds."""
    import torch

    for name, tensor in tensors.items():
        if tensor.dtype == torch.bool:
            continue
        total = tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32))
        if bool(torch.isfinite(total)):  # a NaN or an infinity would stay in the sum, and a sum is quicker to look at
            continue
        count = int((~torch.isfinite(tensor)).sum())
        if count:
            raise InputError(f"`{name}` must be finite, got {count} NaN or infinite of {tensor.numel()} values")


def reason(error: BaseException) -> BaseException:
    """Return what was wrong, under what it made fail, in a chain of `raise … from …`.

    That is the first `InputError` on the way down, which was written for the user, or else the error at its end.
    """
    while error.__cause__ is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def _last_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    first = reason(error)
    if not isinstance(first, InputError):
        sys.__excepthook__(kind, error, trace)
    if first is not error or isinstance(first, InputError):
        sys.stderr.write(f"\nerror: {first}\n")


def end_with_the_reason() -> None:
    """Make a command that fails end with the message of the first error, as its last line.

    `monai.bundle` wraps every error of a config twice or more, so that the message that helps is far up. Wrong input
    (`InputError`) is then reported in that line alone, without a traceback. The exit status stays 1.
    """
    sys.excepthook = _last_line
