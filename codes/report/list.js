"use strict";
// The list of images with their scores, which can be filtered and sorted.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const FIGURES = [
  { name: "PSNR", digits: 2, title: "PSNR in dB" },
  { name: "SSIM", digits: 3, title: "SSIM" },
  { name: "s", digits: 2, title: "seconds" },
];

/** A new element with text (never HTML: names may hold anything) and properties. */
function element(tag, text = "", properties = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  return Object.assign(made, properties);
}

/** A score of an image by a method; null if the image was not scored. Infinity is a string in JSON. */
function figure(image, method, which) {
  const score = method === null ? null : image.scores[method];
  return score ? Number(score[which]) : null;
}

function format(value, which) {
  if (value === null) return "–";
  return Number.isFinite(value) ? value.toFixed(FIGURES[which].digits) : "∞";
}

const compareText = new Intl.Collator("en", { numeric: true }).compare;
const columns = [
  { head: "Image", value: (image) => image.name },
  { head: "Set", value: (image) => data.sets[image.set] },
  ...data.methods.flatMap((method, m) =>
    FIGURES.map((kind, which) => ({ head: kind.name, method, which, value: (image) => figure(image, m, which) })),
  ),
];
const list = { sort: null, descending: false, chosen: 0 };

function buildHeads() {
  const names = element("tr");
  const heads = element("tr");
  columns.forEach((column, index) => {
    const first = column.which === 0;
    if (first) names.append(element("th", column.method, { colSpan: FIGURES.length, scope: "colgroup", className: "method first" }));
    const head = element("th", "", { scope: "col", className: first ? "first" : "" });
    const button = element("button", column.head, { type: "button" });
    if (column.method !== undefined) button.setAttribute("aria-label", `${column.method}: ${FIGURES[column.which].title}`);
    button.addEventListener("click", () => sortBy(index));
    head.append(button);
    heads.append(head);
  });
  names.prepend(element("th", "", { colSpan: 2 }));
  byId("list").tHead.append(names, heads);
}

/** Sort by a column; a second click reverses the order. Numbers begin with the highest, names with A. */
function sortBy(index) {
  const isFigure = columns[index].which !== undefined;
  list.descending = list.sort === index ? !list.descending : isFigure;
  list.sort = index;
  byId("list").tHead.rows[1].querySelectorAll("th").forEach((head, i) => {
    if (i === index) head.setAttribute("aria-sort", list.descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  showList();
}

/** The sorted indices of the images that pass the filter; images without a score come last. */
function selection() {
  const text = byId("filter").value.trim().toLowerCase();
  const kept = [...data.images.keys()].filter((i) => {
    const image = data.images[i];
    return `${data.sets[image.set]}/${image.name}`.toLowerCase().includes(text);
  });
  if (list.sort === null) return kept;
  const { value, which } = columns[list.sort];
  const sign = list.descending ? -1 : 1;
  return kept.sort((i, j) => {
    const a = value(data.images[i]);
    const b = value(data.images[j]);
    if (a === null || b === null) return (a === null) - (b === null);
    if (which === undefined) return sign * compareText(a, b);
    return a === b ? 0 : sign * (a < b ? -1 : 1);
  });
}

function showList() {
  const kept = selection();
  byId("list").tBodies[0].replaceChildren(...kept.map(listRow));
  byId("count").textContent = `${kept.length} of ${data.images.length} images`;
}

function listRow(index) {
  const image = data.images[index];
  const row = element("tr", "", { className: index === list.chosen ? "chosen" : "" });
  row.dataset.index = index;
  const head = element("th", "", { scope: "row" });
  const button = element("button", image.name, { type: "button", title: "Show in the viewer" });
  button.addEventListener("click", () => {
    chooseImage(index);
    byId("viewer").scrollIntoView();
    byId("stage").focus({ preventScroll: true });
  });
  head.append(button);
  row.append(head, element("td", data.sets[image.set]));
  const best = [0, 1].map((which) => Math.max(...data.methods.map((_, m) => figure(image, m, which) ?? -Infinity)));
  for (const { which, value } of columns.slice(2)) {
    const number = value(image);
    const isBest = data.methods.length > 1 && number !== null && number === best[which];
    row.append(element("td", format(number, which), { className: `${which === 0 ? "first" : ""} ${isBest ? "best" : ""}` }));
  }
  return row;
}

/** Mark the image that the viewer shows. */
function markChosen(index) {
  list.chosen = index;
  for (const row of byId("list").tBodies[0].rows) row.classList.toggle("chosen", Number(row.dataset.index) === index);
}

byId("filter").addEventListener("input", showList);
buildHeads();
showList();
