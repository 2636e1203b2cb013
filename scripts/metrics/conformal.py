"""How unusual a scan's score is among healthy scans, without assuming any distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

__all__ = ["conformal_p_value", "largest_p_value"]


def conformal_p_value(score: float, healthy_scores: Sequence[float]) -> float:
    """Return the split-conformal p-value of a score against scores of healthy scans.

    p = (1 + #{healthy scores >= score}) / (n + 1). If the scan is as healthy as those scans, and exchangeable with
    them, p <= a happens in at most a share a of cases. It cannot be lower than 1 / (n + 1).

    Args:
        score: of the scan, higher is more anomalous.
        healthy_scores: of scans that neither trained the network nor chose its settings.

    Returns:
        A number in (0, 1].

    Raises:
        ValueError: when there is no healthy score or a score is not finite.

    References:
        Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005, doi:10.1007/b106715, section 2.2.

    Examples:
        >>> conformal_p_value(9.0, [1.0, 2.0, 3.0])
        0.25
    """
    if not len(healthy_scores):
        raise ValueError("`healthy_scores` must hold at least one score, got none")
    if not all(math.isfinite(value) for value in (score, *healthy_scores)):
        raise ValueError("scores must be finite, got NaN or an infinity")
    return (1 + sum(value >= score for value in healthy_scores)) / (len(healthy_scores) + 1)


def largest_p_value(score: float, groups: Mapping[str, Sequence[float]]) -> float:
    """Return the largest of the conformal p-values against several groups of healthy scans, such as scanners.

    A scan of an unknown scanner is exchangeable with none of the groups for certain. It counts as unusual only where it
    is unusual beside each of them.

    Args:
        score: of the scan, higher is more anomalous.
        groups: healthy scores by group, each as for `conformal_p_value`.

    Returns:
        A number in (0, 1]; not below 1 / (n + 1) of the smallest group.

    Raises:
        ValueError: when there is no group, or as `conformal_p_value`.
    """
    if not groups:
        raise ValueError("`groups` must hold at least one group of healthy scores, got none")
    return max(conformal_p_value(score, scores) for scores in groups.values())
