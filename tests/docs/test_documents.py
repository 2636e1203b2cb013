"""The documents: every link leads somewhere, and every command names what is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from scripts.paths import project_root
from tools.release.docs_site import LINK, MENU_PAGE, linked_files, rewrite_links, site_name

ROOT = Path(project_root())
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md") if (ROOT / name).is_file()]
DOCUMENTS = TOP + sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "bundle" / "docs").glob("*.md"))
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
CONFIG_FOLDERS = (ROOT, ROOT / "bundle")  # commands of the model card start in the bundle's folder
RUN_ITSELF = {
    "config_file",
    "meta_file",
    "logging_file",
    "tracking",
    "args_file",
    "run_id",
}  # arguments of monai.bundle


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def anchors_of(path):
    """Name the headings of a page as GitHub and MkDocs do."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_of(text):
    """Return the lines of the shell blocks, continued lines joined and the blocks' variables put in."""
    found = []
    for language, block in FENCE.findall(text):
        if language not in ("", "sh"):
            continue
        values = {}
        for line in block.replace("\\\n", " ").splitlines():
            values.update(re.findall(r'(?:^|; )([A-Z]+)="([^"]*)"', line))
            for name, value in reversed([*values.items(), *values.items()]):  # a variable may hold an earlier one
                line = line.replace(f"${name}", value)
            found.append(re.sub(r"(?:^|\s)\s*# .*", "", line))
    return found + re.findall(r"`((?:python -m|torchrun|make|brain-anomaly\S*) [^`]+)`", FENCE.sub("", text))


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_to_a_file_and_a_heading(name):
    page = ROOT / name
    missing = []
    for match in LINK.finditer(FENCE.sub("", text_of(name))):
        target = page.parent / match["path"]
        anchor = (match["anchor"] or "#")[1:]
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            missing.append(match[0])
    own = re.findall(r"\]\(#([^)]+)\)", text_of(name))
    assert missing + [anchor for anchor in own if anchor not in anchors_of(page)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_module_and_make_target_of_a_command_is_there(name):
    makefile = text_of("Makefile")
    for command in commands_of(text_of(name)):
        for module in re.findall(r"-m ((?:scripts|tools)[\w.]*)", command):
            assert importlib.util.find_spec(module) is not None, command
        for installed in re.findall(r"^(brain-[\w-]+)", command):
            assert installed in tomllib.loads(text_of("pyproject.toml"))["project"]["scripts"], command
        for target in re.findall(r"^make (?:[A-Z_]+=\S+ )*([a-z][\w.-]*)", command):
            assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.MULTILINE), command


def configs_of(command):
    names = re.findall(r"[\w./-]*configs/[\w./-]+\.(?:yaml|json)", command)
    return [next((root / name for root in CONFIG_FOLDERS if (root / name).is_file()), None) for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_bundle_command_is_a_key_of_its_configs(name):
    for command in commands_of(text_of(name)):
        if "-m monai.bundle run" not in command or "…" in command or "--config_file" not in command:
            continue
        paths = configs_of(command)
        assert None not in paths, f"a config is not there: {command}"
        keys = {key.split("#")[0] for path in paths for key in yaml.safe_load(path.read_text(encoding="utf-8"))}
        for option in re.findall(r" --(\w+)", command.split("-m monai.bundle run")[1]):
            assert option in keys | RUN_ITSELF, f"--{option}: {command}"


@pytest.mark.parametrize("name", NAMES)
def test_the_quotes_of_a_command_are_closed(name):
    for command in commands_of(text_of(name)):
        if re.match(r"python|torchrun|make |pip |export |[A-Z]+=", command):
            shlex.split(command)  # an open quote raises


def test_the_readme_is_one_screen_with_one_table_of_results():
    readme = text_of("README.md")
    assert len(readme.splitlines()) < 120
    table = re.findall(r"<!-- results:begin -->\n(.*?)<!-- results:end -->", readme, flags=re.DOTALL)
    assert len(table) == 1
    assert table[0].startswith("|")
    assert {"make demo", "make test"} <= {line.split("  ")[0] for line in commands_of(readme)}


def test_no_document_holds_a_path_of_this_machine():
    # of the packed ones `tools.release.package_bundle` checks more
    assert [name for name in NAMES if str(ROOT) in text_of(name)] == []


def test_the_model_card_opens_with_the_header_that_the_hub_reads():
    header = yaml.safe_load(text_of("bundle/docs/README.md").split("---")[1])
    assert header["library_name"] == "monai"
    assert {"license", "tags"} <= set(header)
    assert "medical" in header["tags"]


def test_every_page_of_docs_is_in_the_menu():
    menu = set(MENU_PAGE.findall(text_of("mkdocs.yml")))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages - menu == set()
    outside = {page for page in menu - pages if not (ROOT / page).is_file()}
    assert outside == set()


def test_links_out_of_docs_become_links_of_the_site():
    assert site_name("docs/method.md") == "method.md"
    assert site_name("README.md") == "index.md"
    page = "docs/method.md"
    assert rewrite_links("[a](../bundle/docs/python.md#x)", page, ROOT) == "[a](bundle/docs/python.md#x)"
    assert rewrite_links("[a](results.md)", page, ROOT) == "[a](results.md)"
    assert rewrite_links("[code](../scripts/paths.py)", page, ROOT) == "code"
    assert rewrite_links("[gone](../gone.md)", page, ROOT) == "[gone](../gone.md)"
    assert rewrite_links("![p](cases.jpg)", "bundle/docs/README.md", ROOT) == "![p](cases.jpg)"


def test_the_site_holds_what_its_pages_link_to():
    files = linked_files(ROOT)
    assert {"CHANGELOG.md", "bundle/docs/cases.jpg", "bundle/configs/train.yaml"} <= set(files)
    assert all((ROOT / name).is_file() for name in files)
