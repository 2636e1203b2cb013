"""What each colour means, on every page and picture: one for one thing, told apart with every kind of colour vision."""

from __future__ import annotations

__all__ = ["BACKGROUND", "BRAIN", "LABEL", "MAP", "REGION", "TEXT"]

REGION = "#2ec4f1"  # sky blue: candidate regions and the threshold that makes them; no colour of the map comes near
LABEL = "#ff9f1c"  # orange: what an expert outlined
BRAIN = "#8fd694"  # light green: the brain mask
MAP = "inferno"  # the anomaly map
BACKGROUND, TEXT = "black", "#e6e6e6"
