// Sorting for tables of class "sortable": a click on a header button sorts by that column, a second click turns it round.
"use strict";
(function () {
  const compare = (first, second) => {
    if (first === "" || second === "") return first === second ? 0 : first === "" ? 1 : -1; // nothing goes last
    const numbers = [Number(first), Number(second)];
    return numbers.some(Number.isNaN) ? first.localeCompare(second, undefined, { numeric: true }) : numbers[0] - numbers[1];
  };

  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const key = (row) => row.cells[column].dataset.value;
    const rows = Array.from(body.rows);
    rows.sort((first, second) => {
      const order = compare(key(first), key(second));
      return descending && key(first) !== "" && key(second) !== "" ? -order : order;
    });
    rows.forEach((row) => body.appendChild(row));
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    const headers = Array.from(table.tHead.rows[0].cells);
    headers.forEach((header, column) => {
      const button = header.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const descending = header.getAttribute("aria-sort") === "ascending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
    });
  });
})();
