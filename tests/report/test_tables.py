"""Tables are written whole or not at all, and hold what JSON, CSV and Markdown readers expect."""

from __future__ import annotations

import csv
import json
import math
import shlex
import sys

import numpy as np
import pytest

from scripts.files import replacing
from scripts.report.tables import format_mean, format_number, markdown_table, write_csv, write_json, write_text
from scripts.results import portable_command


def test_csv_has_every_column_and_empty_cells_for_what_is_unknown(tmp_path):
    path = tmp_path / "new" / "cases.csv"
    write_csv(path, [{"case": "a, b", "auprc": 0.1 + 0.2}, {"case": "c", "auprc": math.nan, "more": True}])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"case": "a, b", "auprc": repr(0.1 + 0.2), "more": ""}
    assert rows[1] == {"case": "c", "auprc": "", "more": "1"}


def test_csv_columns_can_be_chosen(tmp_path):
    write_csv(tmp_path / "a.csv", [{"x": 1, "y": 2}], columns=["y", "z"])
    assert (tmp_path / "a.csv").read_text() == "y,z\n2,\n"


def test_json_is_strict_and_keeps_all_digits(tmp_path):
    write_json(tmp_path / "a.json", {"map": {"t": np.float64(0.1) + 0.2, "none": [math.nan, (math.inf,)]}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"map": {"t": 0.1 + 0.2, "none": [None, [None]]}}


def fail_while_writing(path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk full")


def test_an_error_while_writing_keeps_the_earlier_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with pytest.raises(RuntimeError, match="disk full"):
        fail_while_writing(path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_markdown_is_padded_and_escapes_bars():
    assert markdown_table(["map", "n"], [["a|b", 1]]) == "| map  | n   |\n|------|-----|\n| a\\|b | 1   |\n"
    with pytest.raises(ValueError, match=r"`rows` must have 2 cells each, got \[1, 2\]"):
        markdown_table(["map", "n"], [["a"]])


def test_numbers_that_do_not_exist_are_dashes():
    dash = "\N{EN DASH}"
    assert (format_number(None), format_number(math.nan), format_number(0.12345)) == (dash, dash, "0.123")
    assert format_mean(0.5, 0.25, digits=2) == "0.50 ± 0.25"
    assert (format_mean(0.5, math.nan), format_mean(math.nan, math.nan)) == ("0.500", dash)


def test_command_shows_no_absolute_path(tmp_path):
    script = str(tmp_path / "lib" / "site-packages" / "monai" / "bundle" / "__main__.py")
    inside, outside = str(tmp_path / "project" / "configs" / "a.yaml"), str(tmp_path / "secret" / "b.yaml")
    argv = [script, "run", "--config_file", f"['{inside}','{outside}']", f"--dataset_dir={outside}", "--n", "3"]
    command = portable_command(argv, folder=tmp_path / "project")
    assert command.startswith("python -m monai.bundle run --config_file ")
    assert "\"['configs/a.yaml','b.yaml']\"" in command
    assert command.endswith("--dataset_dir=b.yaml --n 3")
    assert str(tmp_path) not in command


@pytest.mark.parametrize("argument", ["a b", "['a']", "$x 'y'", "`ls` '", "!'", "'\\", "'\""])
def test_the_shell_reads_the_arguments_as_they_were(argument):
    assert shlex.split(portable_command(["program", argument]))[1:] == [argument]


def test_command_of_this_process_shows_no_absolute_path():
    assert sys.prefix not in portable_command([sys.executable, *sys.argv])
    assert portable_command([]) == ""


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1+1", "'=1+1"), ("+cmd", "'+cmd"), ("-x", "'-x"), ("@SUM(A1)", "'@SUM(A1)"), ("-0.5", "-0.5"), ("+3", "+3"), ("a=b", "a=b")],
)
def test_texts_that_a_spreadsheet_would_run_are_quoted(tmp_path, text, cell):
    write_csv(tmp_path / "a.csv", [{"name": text, "value": -1.5}])
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == f"{cell},-1.5"
    write_csv(tmp_path / "a.csv", [{"name": text}], for_people=False)
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == text


def test_names_that_are_no_text_can_be_written(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    write_csv(tmp_path / "a.csv", [{"name": name}])
    write_text(tmp_path / "a.html", name)
    assert (tmp_path / "a.html").read_text() == "caf\\udce9"
