"""Put the pages and files that lie outside docs/ into the site: a hook of MkDocs, named in mkdocs.yml.

Links in the documents are right where they lie in the repository, such as `../bundle/docs/python.md`. MkDocs knows
the folder docs/ only; so the files that are linked to join the site at their place in the repository, and links
across the border of docs/ are rewritten.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

__all__ = ["linked_files", "on_files", "on_page_markdown", "rewrite_links", "site_name"]

LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?(?=\))")
WHOLE_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<path>[^)#\s:]+)(#[^)\s]*)?\)")
MENU_PAGE = re.compile(r": ([\w/.-]+\.md)$", flags=re.MULTILINE)
SHOWN = frozenset({".md", ".png", ".jpg", ".svg", ".yaml", ".json", ".txt", ".csv", ".ipynb", ".cff"})


def site_name(path: str) -> str:
    """Name a file of the repository in the site.

    Args:
        path: relative to the repository, with forward slashes.

    Returns:
        Its name there: without `docs/`, and the home page for the README.
    """
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def linked_files(root: Path) -> list[str]:
    """Find the pages of the menu that lie outside docs/, what the documents link to there, and what these link to.

    Args:
        root: folder of the repository.

    Returns:
        Paths relative to it, sorted; code and folders, which the site does not show, are left out.
    """
    waiting = [path.relative_to(root).as_posix() for path in sorted((root / "docs").rglob("*.md"))]
    waiting += MENU_PAGE.findall((root / "mkdocs.yml").read_text(encoding="utf-8"))
    found: set[str] = set()
    while waiting:
        page = waiting.pop()
        if page in found or page == "README.md" or not _is_shown(root, page):
            continue
        found.add(page)
        if page.endswith(".md"):
            text = (root / page).read_text(encoding="utf-8")
            waiting += [_target(page, match["path"]) for match in LINK.finditer(text)]
    return sorted(page for page in found if not page.startswith("docs/"))


def rewrite_links(markdown: str, page: str, root: Path) -> str:
    """Make the links of a page those of the site.

    Args:
        markdown: text of the page.
        page: its path, relative to the repository.
        root: folder of the repository.

    Returns:
        The text; links to code and folders, which the site does not show, have become plain text.
    """
    folder = posixpath.dirname(site_name(page))

    def rewritten(match: re.Match[str]) -> str:
        target = _target(page, match["path"])
        if not (root / target).exists():
            return match[0]  # for MkDocs to complain about
        if not _is_shown(root, target):
            return match["text"]
        place = posixpath.relpath(site_name(target), folder or ".")
        return match[0].replace(f"]({match['path']}", f"]({place}")

    return WHOLE_LINK.sub(rewritten, markdown)


def _target(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _is_shown(root: Path, path: str) -> bool:
    file = root / path
    return not path.startswith("..") and file.is_file() and (file.suffix in SHOWN or file.name == "LICENSE")


def on_files(files: Any, *, config: Any) -> Any:
    """Add the linked files that lie outside docs/ to those of the site."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    for path in linked_files(root):
        files.append(File.generated(config, site_name(path), abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links of a page for the site."""
    root = Path(config.config_file_path).parent
    source = Path(page.file.abs_src_path).relative_to(root).as_posix()
    return rewrite_links(markdown, source, root)
