"use strict";
// The page is complete without this. It shows the value of the cell under the pointer or the
// focus, adds arrow keys within a matrix, and filters a cell's samples by variant.
for (const table of document.querySelectorAll("table.matrix")) {
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(2));
  const readout = table.closest(".modes, section").querySelector(
    table.closest("details") ? "#differences ~ .readout" : ".readout");
  const show = (cell) => { readout.textContent = cell ? cell.title : ""; };
  const cellOf = (event) => event.target.closest("tbody td[title]");
  let current = rows[0][0];
  current.tabIndex = 0;
  for (const link of table.querySelectorAll("tbody a")) link.tabIndex = -1;

  const go = (i, j) => {
    const cell = rows[i] && rows[i][j];
    if (!cell) return;
    current.tabIndex = -1;
    current = cell;
    current.tabIndex = 0;
    current.focus();
  };
  table.addEventListener("mouseover", (event) => show(cellOf(event)));
  table.addEventListener("focusin", (event) => show(cellOf(event)));
  table.addEventListener("mouseleave", () => show(null));
  table.addEventListener("keydown", (event) => {
    const i = rows.findIndex((row) => row.includes(current));
    const j = rows[i].indexOf(current);
    const end = rows.length - 1;
    const steps = {
      ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1],
      Home: [i, 0], End: [i, end],
    };
    if (event.key in steps) {
      event.preventDefault();
      go(...steps[event.key]);
    } else if (event.key === "Enter" && document.activeElement === current) {
      const link = current.querySelector("a");
      if (link) link.click();
    }
  });
  table.addEventListener("click", (event) => {
    const cell = cellOf(event);
    const link = cell && cell.querySelector("a");
    if (!link) return;
    const gallery = document.getElementById(link.hash.slice(1));
    for (const sample of gallery.querySelectorAll("li")) {
      sample.hidden = !sample.dataset.by.split(" ").includes(table.dataset.variant);
    }
    opened = cell;
    setTimeout(() => gallery.focus({ preventScroll: true }));
  });
}

let opened = null;
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.querySelector(".gallery:target")) location.hash = "closed";
});
addEventListener("hashchange", () => {
  if (opened && !document.querySelector(".gallery:target")) {
    opened.tabIndex = 0;
    opened.focus({ preventScroll: true });
    opened = null;
  }
});
