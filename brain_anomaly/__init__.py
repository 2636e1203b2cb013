"""Find anomalies in brain MRI: `from brain_anomaly import analyze; result = analyze("scan.nii.gz")`.

Research software; not a medical device. In an installed package the bundle's code is `brain_anomaly.scripts`, so that
it cannot meet the `scripts` of another bundle.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Analysis", "analyze"]


def __getattr__(name: str) -> Any:
    """Load torch and the rest only when something is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from brain_anomaly import analysis

    return getattr(analysis, name)
