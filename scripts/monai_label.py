"""What MONAI Label needs beyond the bundle: checked requests, messages that reach its users, a task, the result.

What a request gives for `displayable_configs` MONAI Label writes into the config, which it reads anew. There a text
that starts with `$` is evaluated, `@` and `%` are followed, and a mapping with `_target_` is called: options become
plain values of their own types first. What is refused reaches whoever asked, with its text.

MONAI Label makes a task of its own for each bundle and offers no place for a bundle's. The bundle is read while that
task is made, so that importing this module is where ours can take over, for a T1 beside a T2 and no second run for
another threshold.
"""

from __future__ import annotations

import copy
import difflib
import gc
import hashlib
import sys
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Transform
from scripts.errors import InputError
from scripts.files import file_sha256
from scripts.handlers.scan_result import ScanResult
from scripts.options.fields import checked, shown
from scripts.options.workflows import HostOptions, InferenceOptions

__all__ = [
    "PARTNER",
    "FinishedScans",
    "HostResultd",
    "adopt_bundle_tasks",
    "check_request",
    "checksum",
    "host_task",
    "new_entries",
    "raise_as_web_errors",
]

PARTNER = "t1"  # the one option that is free text; the config is not given it
_OF_HOST = {"device", "image", "label", "description", "progress", "points"}
_NEAR = 0.8  # likeness of a misspelled name


def check_request(
    request: Mapping[str, Any], *, offered: Mapping[str, Any], devices: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a host's request with each offered option as a plain value of its own type.

    Args:
        request: options and what the host itself puts beside them, which stays as it is.
        offered: `displayable_configs`: the default of each option, or all its choices, of which the first holds.
        devices: names that the host has for devices, beside cpu, cuda and cuda:N.

    Returns:
        The request with all offered options: modality and returns are one of their choices, num_samples is a whole
        number, threshold a number or None, force a bool; `t1` is any text, or None, and must not reach the config.

    Raises:
        InputError: for the first option that cannot be used, that is none here, or that is misspelled.

    Examples:
        >>> check_request({"num_samples": "5"}, offered={"num_samples": 10})
        {'num_samples': 5}
    """
    for name in request:
        _check_name(str(name), offered)
    result = dict(request)
    for name, default in offered.items():
        value = _first_choice(request.get(name, default), default)
        result[name] = checked(HostOptions, name, None if name == PARTNER and value == "" else value)
    _check_device(result, devices)
    return result


def _check_name(name: str, offered: Mapping[str, Any]) -> None:
    if name in offered or name in _OF_HOST:
        return
    near = difflib.get_close_matches(name, list(offered), n=1, cutoff=_NEAR)
    if near or name in InferenceOptions.model_fields or name == "displayable_configs":
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(offered)}."
        raise InputError(f"there is no option {shown(name)} here", fix=hint)


def _first_choice(value: Any, default: Any) -> Any:
    """Return the first of the choices where none was made."""
    return default[0] if isinstance(default, list | tuple) and value in (default, list(default), "", None) else value


def _check_device(request: dict[str, Any], devices: Sequence[str]) -> None:
    device = request.get("device")
    if device is None or device in devices or device == list(devices):
        return
    if checked(InferenceOptions, "device", device) == "auto":
        del request["device"]  # the host takes its first


_UNPROCESSABLE = 422  # HTTP status: what was sent is understood, but cannot be used
_BY_NAME = " (Options of the command line, such as --force true, are set by name in the client.)"


def raise_as_web_errors() -> None:
    """Have every `InputError` raised as an HTTP error with the status 422, where MONAI Label runs.

    Starlette, on which its server stands, sends the text of its `HTTPException` to the client. Elsewhere nothing
    changes, also where starlette is installed.
    """
    if "monailabel" in sys.modules:
        InputError.raised_as = _web_kind


def _web_kind(kind: type[InputError]) -> type[InputError]:
    """Return a subclass of `kind` that is starlette's `HTTPException` as well."""
    from starlette.exceptions import HTTPException  # only a server has it

    def detail(self: InputError) -> str:
        message = str(self)
        return message if "--" not in message else f"{message.rstrip('.')}.{_BY_NAME}"

    members = {
        "__str__": lambda self: str(self.args[0]),  # HTTPException puts the status before it
        "status_code": _UNPROCESSABLE,
        "headers": None,
        "detail": property(detail),
    }
    return type(kind.__name__, (kind, HTTPException), members)


_TASKS, _OURS, _MARK = "monailabel.tasks.infer.bundle", "scripts.monai_label", "adopts_brain_anomaly"
_WEIGHTS_OPTION = "model_filename"  # MONAI Label lists all files in models/; the weights follow the modality
_NOT_OF_MAP = ("threshold", "returns")  # options that need no run of the network
_THRESHOLDING = "SplitOutputsd"  # the step from which on these options matter
_Base: Any = object  # in its place comes the class that MONAI Label has
_KEY, _FOUND, _ASKED = "finished_key", "finished_found", "finished_asked"


def adopt_bundle_tasks() -> None:
    """Have MONAI Label's bundle task, where it is loaded, become a `host_task` for bundles that import this module."""
    base = getattr(sys.modules.get(_TASKS), "BundleInferTask", None)
    if base is None or getattr(base, _MARK, False):  # our modules are loaded anew with each request
        return
    kind = host_task(base)
    for name in ("info", "__call__"):
        setattr(base, name, _adopting(base, kind, name, getattr(base, name)))
    setattr(base, _MARK, True)


def _adopting(base: Any, kind: Any, name: str, original: Any) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if type(self) is base and _OURS in str(self.bundle_config.config.get("imports", "")):
            self.__class__ = kind
            return getattr(self, name)(*args, **kwargs)
        return original(self, *args, **kwargs)

    return method


class _HostSteps(_Base):
    """A bundle's task that checks what it is asked, and keeps the last scans up to the threshold."""

    def info(self) -> dict[str, Any]:
        """Return what clients are shown: without `model_filename`, which would do nothing."""
        self._config.pop(_WEIGHTS_OPTION, None)
        return super().info()

    def __call__(self, request: dict[str, Any], callbacks: Any = None) -> Any:
        """Work on a request.

        Raises:
            InputError: if an option cannot be used, before anything reads it.
        """
        self._config.pop(_WEIGHTS_OPTION, None)
        devices = self._config.get("device", [])
        checked = check_request(request, offered=self.displayable_configs, devices=devices)
        if checked[PARTNER]:
            checked[PARTNER] = _path_on_host(checked[PARTNER])
        return super().__call__(checked, callbacks)

    def pre_transforms(self, data: Any = None) -> Any:
        """Return the steps before the network; the config gets every option but the free text."""
        return super().pre_transforms({**data, PARTNER: ""})

    def run_pre_transforms(self, data: dict[str, Any], transforms: Any) -> dict[str, Any]:
        """Return the network's input, or the finished scan where there is one."""
        data = {name: value for name, value in data.items() if name != PARTNER or value}
        if not isinstance(data.get("image"), str) or not data["image"]:
            return super().run_pre_transforms(data, transforms)
        data[_KEY] = self._key(data)
        found = self._scans().get(data[_KEY])
        if found is not None:
            return {**data, **found, _FOUND: True}
        return super().run_pre_transforms({**data, _ASKED: dict(data)}, transforms)

    def run_inferer(self, data: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return `data` with the maps; those of a finished scan are there already."""
        return data if _FOUND in data else super().run_inferer(data, *args, **kwargs)

    def run_post_transforms(self, data: dict[str, Any], transforms: Any) -> dict[str, Any]:
        """Return the result; a scan is kept as it is before its maps are thresholded."""
        names = [type(step).__name__ for step in transforms]
        split = names.index(_THRESHOLDING)
        if _FOUND not in data:
            data = super().run_post_transforms(data, transforms[:split])
            if _KEY in data:
                self._scans().put(data[_KEY], new_entries(data, data.pop(_ASKED)))
        return super().run_post_transforms(data, transforms[split:])

    def _key(self, data: dict[str, Any]) -> str:
        """Return what a finished scan depends on: files, weights, and every option but those after the map."""
        options = {name: data[name] for name in self.displayable_configs if name not in (*_NOT_OF_MAP, PARTNER)}
        files = [Path(data[name]) for name in ("image", PARTNER) if data.get(name)]
        weights = sorted((Path(self.bundle_path) / "models").glob("*.pt"))
        named = (files[0].name, str(data.get("device")), sorted(options.items()))
        return repr((*named, [checksum(file) for file in files], [checksum(file) for file in weights]))

    def _scans(self) -> FinishedScans:
        if not hasattr(self, "_finished"):
            self._finished = FinishedScans()
        return self._finished


def host_task(base: Any) -> Any:
    """Return the class of our task.

    Args:
        base: MONAI Label's `BundleInferTask`.
    """
    return type("HostTask", (_HostSteps, base), {"__module__": __name__})


def _path_on_host(name: str) -> str:
    """Return the file of a scan that the server lists.

    Raises:
        InputError: if it has none of that name.
    """
    from monailabel.interfaces.utils.app import app_instance  # only a server has it

    path = str(app_instance().datastore().get_image_uri(name) or "")
    if not path or not Path(path).exists():
        raise InputError(f"`{PARTNER}`: the host has no scan of the name {name!r}", fix="Give one of its list.")
    return path


_APART = "latencies"  # of the host, per request


class FinishedScans:
    """Keep the entries of the last few cases in memory, on the CPU.

    Args:
        most: how many; a scan of 256 x 256 x 180 voxels takes about 250 MiB.

    Examples:
        >>> scans = FinishedScans(most=1)
        >>> scans.put("a", {"score": 1.0})
        >>> scans.put("b", {"score": 2.0})
        >>> scans.get("a"), scans.get("b")
        (None, {'score': 2.0})
    """

    def __init__(self, most: int = 2) -> None:
        self.most = most
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the entries of a case, or None where it is not kept; its tensors must not be changed in place."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return {name: _own(value) for name, value in self._kept[key].items()}

    def put(self, key: str, entries: Mapping[str, Any]) -> None:
        """Keep a case, in the place of the one that was not asked for longest."""
        self._kept[key] = {name: _own(value) for name, value in entries.items()}
        self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)


def _own(value: Any) -> Any:
    return value.cpu() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def new_entries(data: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a case that were made or changed since it was asked for.

    Args:
        data: the case.
        asked: the request that it came from.

    Examples:
        >>> new_entries({"image": "a.nii", "pred": 1}, {"image": "a.nii"})
        {'pred': 1}
    """
    return {name: value for name, value in data.items() if value is not asked.get(name, _APART) and name != _APART}


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return file_sha256(path)
    parts = [(str(file.relative_to(path)), checksum(file)) for file in sorted(path.rglob("*")) if file.is_file()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


_OF_SERVER = ("input", "files")  # places on the server, which mean nothing to its client
_MASK = "lesion_mask"


class HostResultd(Transform):
    """Put the volume that was asked for, and the result as in `result.json`, where MONAI Label sends them from.

    The volume is `data["pred"]`, the result `data["result"]`. Maps go as float32, whatever type was asked for.

    It does so only where a host gave the scan, which it does by a file's name under `image_path`, and may ask for a
    volume under `returns`. Scans of our own
    commands have their result written by `ScanResult` itself.

    Then it collects garbage. MONAI Label loads the bundle's modules anew several times with each request; the old ones
    hang together in cycles, with the templates and networks that they keep (50 MiB a request). Left to itself, Python
    would collect them only after twenty requests or so.

    Args:
        results: describes the scan.
    """

    def __init__(self, results: ScanResult) -> None:
        self.results = results

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data`, with volume and result where a host gave the scan."""
        if "image_path" not in data:
            return dict(data)
        case = Path(str(data["image_path"])).name.split(".")[0]
        reported = self.results.describe({"case": case, **{str(key): value for key, value in data.items()}})
        gc.collect()
        wish = str(data.get("returns") or _MASK)
        result = {key: value for key, value in reported.items() if key not in _OF_SERVER} | {"volume": wish}
        answer: dict[Hashable, Any] = {**data, "pred": data[wish], "result": result}
        return answer if wish == _MASK else {**answer, "result_dtype": "float32"}


raise_as_web_errors()  # here, as MONAI Label loads the bundle's modules anew with each request
adopt_bundle_tasks()
