"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    if (head.classList.contains("bar")) return;
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const numeric = body.rows.length > 0 && "v" in body.rows[0].cells[at].dataset;
      const isDescending = head.getAttribute("aria-sort") === "descending";
      const sign = (head.hasAttribute("aria-sort") ? isDescending : !numeric) ? 1 : -1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const key = (row) => numeric ? Number(row.cells[at].dataset.v || -1) : row.cells[at].textContent;
      const compare = (one, other) => numeric ? key(one) - key(other) : key(one).localeCompare(key(other));
      body.append(...[...body.rows].sort((one, other) => sign * compare(one, other)));
    });
  });
}
