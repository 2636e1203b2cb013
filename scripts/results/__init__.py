"""What is written of a scan: where its files go, its lesions, and what they were made with."""

from __future__ import annotations

from scripts.results.files import relative_link, remove_result, result_path, write_dataset_description

__all__ = ["relative_link", "remove_result", "result_path", "write_dataset_description"]
