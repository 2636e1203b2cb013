// Tables of class "sortable": a click on a header button sorts by that column, a second click turns it round.
// A form of class "filters" hides the rows of its table that do not fit; print shows all of them.
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

  function connectFilters(form) {
    const rows = Array.from(document.getElementById(form.dataset.for).tBodies[0].rows);
    const { text, status, modality, p, shown } = form.elements;
    const show = () => {
      const word = text.value.trim().toLowerCase();
      for (const row of rows) {
        const fits =
          row.textContent.toLowerCase().includes(word) &&
          (status.value === "" || row.dataset.status === status.value) &&
          (modality.value === "" || row.dataset.modality === modality.value) &&
          (p.value === "" || (row.dataset.p !== "" && Number(row.dataset.p) <= Number(p.value)));
        row.hidden = !fits;
      }
      shown.value = rows.filter((row) => !row.hidden).length + " of " + rows.length + " scans";
    };
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    show();
  }

  document.querySelectorAll("form.filters").forEach(connectFilters);
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
