"""The paper's table: what is in it, how folds are averaged, and LaTeX that compiles as far as one can tell without it."""

from __future__ import annotations

import csv
import math
import re
import statistics

import pytest

from scripts.report.tables import (
    Cell,
    PaperTable,
    average_tables,
    latex_table,
    latex_text,
    table_of_summary,
    write_paper_table,
)

VALIDATION, POOLED = "dice_at_validation_best_dice", "dice_at_pooled_best_dice"


def entry(auprc, dice, *, column=VALIDATION):
    described = {"auprc": auprc, POOLED: 0.9, column: dice}
    return {"pooled": {}, "metrics": {name: {"mean": mean, "std": 0.1, "n": 4} for name, mean in described.items()}}


@pytest.fixture
def summary():
    return {
        "Brats_21 & co": {"mean_l1": entry(0.25, 0.4), "anomaly_map": entry(0.5, 0.3)},
        "IXI": {"anomaly_map": {"metrics": {}}},
        "WMH": {"anomaly_map": entry(0.125, 0.2)},
    }


def test_lesion_sets_are_columns_and_maps_are_rows(summary):
    table = table_of_summary(summary, order=["WMH", "IXI", "Brats_21 & co", "absent"])
    assert table.datasets == ["WMH", "Brats_21 & co"]
    assert table.rows["anomaly_map"]["WMH", "dice"] == Cell(0.2, 0.1, 4)
    assert ("WMH", "auprc") not in table.rows["mean_l1"]
    assert "the validation threshold" in table.caption


def test_without_a_validation_threshold_the_caption_says_so(summary):
    for name in ("Brats_21 & co", "WMH"):
        for one in summary[name].values():
            del one["metrics"][VALIDATION]
    table = table_of_summary(summary)
    assert table.dice == POOLED
    assert table.rows["anomaly_map"]["WMH", "dice"].mean == 0.9
    assert "pooled best threshold of these very cases" in table.caption


def test_folds_are_averaged_with_their_spread():
    values = [0.2, 0.4, 0.9]
    tables = [PaperTable({"map": {("WMH", "auprc"): Cell(value, 0.3, 7)}}, ["WMH"], VALIDATION) for value in values]
    tables.append(PaperTable({"map": {("WMH", "auprc"): Cell(math.nan, math.nan, 0)}}, ["WMH"], VALIDATION))
    cell = average_tables(tables).rows["map"]["WMH", "auprc"]
    assert cell == Cell(statistics.fmean(values), statistics.stdev(values), 3)
    assert math.isnan(average_tables(tables[:1]).rows["map"]["WMH", "auprc"].std)
    other = PaperTable({}, [], POOLED)
    with pytest.raises(ValueError, match="must have one kind of Dice"):
        average_tables([tables[0], other])


def test_three_files_hold_the_same_numbers(summary, tmp_path):
    text = write_paper_table(tmp_path, table_of_summary(summary))
    assert text == (tmp_path / "table.md").read_text()
    assert "**50.00 ± 10.00**" in text
    assert "**25.00" not in text
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["method"] == "anomaly_map"
    assert float(rows[1]["Brats_21 & co_auprc_mean"]) == 0.5
    assert rows[0]["WMH_auprc_mean"] == ""
    assert r"\textbf{50.00 $\pm$ 10.00}" in (tmp_path / "table.tex").read_text()


def test_latex_is_well_formed(summary, tmp_path):
    write_paper_table(tmp_path, table_of_summary(summary))
    lines = (tmp_path / "table.tex").read_text().splitlines()[1:]  # the first is a comment
    text = "\n".join(lines)
    plain = re.sub(r"\\[\\&%_#${}]", "", text)
    assert text.isascii()
    assert not re.search(r"[%#_~^]", plain), "unescaped special characters"
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]
    columns = len(re.search(r"tabular\}\{(l?c+)\}", text)[1])
    body = [line for line in lines if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") + 1 for line in body} == {columns}
    assert "multicolumn{2}{c}{Brats\\_21 \\& co}" in text


def test_special_characters_are_escaped():
    assert latex_text("5 % of a_b & {c} #1 $x ~ ^ \\") == (
        r"5 \% of a\_b \& \{c\} \#1 \$x \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert latex_text("a ± b") == r"a $\pm$ b"


def test_ragged_latex_tables_are_refused():
    with pytest.raises(ValueError, match=r"must have 2 columns, got \[1, 2\]"):
        latex_table(["m", "a", "b"], {"row": ["1"]}, bold={"row": [False]}, groups=[("set", 2)], caption="")
