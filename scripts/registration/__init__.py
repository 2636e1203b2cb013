"""Registration: which way up a brain is, and the affine that takes it onto the template."""

from __future__ import annotations

from scripts.registration.align import AlignCased, AlignToTemplated

__all__ = ["AlignCased", "AlignToTemplated"]
