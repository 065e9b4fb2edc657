"use strict";
const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
const data = (name) => JSON.parse(document.getElementById(name).textContent);
const pictures = data("pictures");
const cells = data("cells");

// pictures: each is held once
for (const image of all("img[data-picture]")) image.src = pictures[Number(image.dataset.picture)];

// values on hover and on focus
const tip = document.getElementById("tip");
const show = (event) => {
  const found = event.target.closest ? event.target.closest("[data-tip]") : null;
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = found.dataset.tip;
  const box = found.getBoundingClientRect();
  const left = Math.min(box.left + box.width / 2 + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(left, 4) + window.scrollX}px`;
  tip.style.top = `${box.top + window.scrollY - tip.offsetHeight - 6}px`;
};
document.addEventListener("pointerover", show);
document.addEventListener("focusin", show);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

// on paper everything stands open
addEventListener("beforeprint", () => { for (const part of all("details")) part.open = true; });

// tables: sort by a column, search by text
for (const button of all("th button[data-sort]")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const at = Array.from(head.parentElement.children).indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.children[at].dataset.value ?? row.children[at].textContent.trim();
    const rows = all("tbody tr", table);
    const numeric = rows.every((row) => value(row) === "" || !Number.isNaN(Number(value(row))));
    const order = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b));
    rows.sort((a, b) => {
      const empty = (value(a) === "") - (value(b) === "");  // these last, either way
      return empty || (up ? 1 : -1) * order(value(a), value(b));
    });
    table.tBodies[0].append(...rows);
  });
}
for (const field of all("input[data-search]")) {
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of all(`#${field.dataset.search} tbody tr`))
      row.hidden = !row.children[0].textContent.toLowerCase().includes(wanted);
  });
}

// the confusion: counts or shares, and the images behind a cell
for (const choice of all("input[name=confusion-as]")) {
  choice.addEventListener("change", () => {
    for (const cell of all("#confusion [data-share]")) cell.textContent = cell.dataset[choice.value];
  });
}
const said = document.getElementById("cell-title");
const shown = document.getElementById("cell-images");
for (const button of all("[data-cell]")) {
  button.addEventListener("click", () => {
    const images = cells[button.dataset.cell] || [];
    const count = Number(button.dataset.images);
    said.textContent = `${button.getAttribute("aria-label")}. ` +
      (images.length ? `The ${images.length} most confident of ${count}:` : "No pictures of this cell are in the page.");
    shown.replaceChildren(...images.map((image) => {
      const item = document.createElement("li");
      const picture = document.createElement("img");
      picture.className = "picture";
      picture.alt = "";
      picture.src = pictures[image.picture];
      const text = document.createElement("div");
      const id = document.createElement("bdi");
      id.textContent = image.id;
      text.append(id, ` at ${image.probability.toFixed(3)}, fold ${image.fold}`);
      item.append(picture, text);
      return item;
    }));
    document.getElementById("cell").hidden = false;
  });
}

// cards: filters, and ids to copy
for (const box of all("[data-cards]")) {
  const name = box.dataset.cards;
  const list = document.getElementById(name);
  const chosen = () => all("li:not([hidden]) > input:checked, li:not([hidden]) label > input:checked", list);
  const text = box.querySelector("textarea");
  const gather = () => { text.value = chosen().map((input) => input.value).join("\n"); };
  const filter = () => {
    const wanted = Object.fromEntries(all("select", box).map((select) => [select.dataset.by, select.value]));
    let count = 0;
    for (const item of list.children) {
      item.hidden = Object.entries(wanted).some(([key, value]) => value !== "" && item.dataset[key] !== value);
      count += item.hidden ? 0 : 1;
    }
    box.querySelector("[data-count]").textContent = `${count} shown`;
    gather();
  };
  for (const select of all("select", box)) select.addEventListener("change", filter);
  list.addEventListener("change", gather);
  box.querySelector("[data-all]").addEventListener("click", () => {
    const inputs = all("li:not([hidden]) input", list);
    const on = !inputs.every((input) => input.checked);
    for (const input of inputs) input.checked = on;
    gather();
  });
  text.addEventListener("focus", () => text.select());
}
