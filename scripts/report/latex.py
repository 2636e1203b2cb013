"""Tables as LaTeX (package booktabs), with every special character escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["latex_table", "latex_text"]

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "≥": r"$\ge$",
    "–": "--",
    "·": r"$\cdot$",
    "λ": r"$\lambda$",
}


def latex_text(text: str) -> str:
    """Return plain text as LaTeX."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def latex_table(
    header: Sequence[str],
    rows: Mapping[str, Sequence[str]],
    *,
    bold: Mapping[str, Sequence[bool]],
    groups: Sequence[tuple[str, int]],
    caption: str,
) -> str:
    """Return a floating table with a line of group names above the header.

    Args:
        header: name of the first column and of the others.
        rows: cells of each row by its name, as plain text.
        bold: which of these cells stand out.
        groups: name and number of columns of each group, after the first column.
        caption: a sentence under the table.

    Raises:
        ValueError: when rows, groups and header have not the same number of columns.
    """
    width = len(header) - 1
    lengths = {len(cells) for cells in rows.values()} | {sum(number for _, number in groups)}
    if lengths != {width}:
        raise ValueError(f"rows and `groups` must have {width} columns, got {sorted(lengths)}")
    above, rules, start = [""], [], 2
    for name, number in groups:
        above.append(rf"\multicolumn{{{number}}}{{c}}{{{latex_text(name)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + number - 1}}}")
        start += number
    body = [
        _line([latex_text(name), *(_cell(*pair) for pair in zip(cells, bold[name], strict=True))])
        for name, cells in rows.items()
    ]
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(caption)}}}",
        rf"\begin{{tabular}}{{l{''.join('c' * number for _, number in groups)}}}",
        r"\toprule",
        _line(above),
        " ".join(rules),
        _line([latex_text(name) for name in header]),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(text: str, strong: bool) -> str:
    plain = latex_text(text)
    return rf"\textbf{{{plain}}}" if strong else plain
