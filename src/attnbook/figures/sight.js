// What each position may see: choose a kind of attention and a word that asks.
//
// It draws the data of attnbook.figures.sight. Both choices are native radio buttons: arrow keys
// move within each, and the table is a table.

import { card, choices, freshId, h, statusLine, svg, tableHead } from "./shared.js";

const HEIGHT = 54; // pixels between the two lines of words

const quoted = (words) => words.map((word) => `“${word}”`).join(", ");

/** The line that a screen reader hears after each choice, and everybody can read. */
function sentence({ rows, columns, sees }, row) {
  const seen = columns.filter((_, i) => sees[row][i]);
  const hidden = columns.filter((_, i) => !sees[row][i]);
  const start = `“${rows[row]}”, ${row + 1} of ${rows.length}, sees ${quoted(seen)}`;
  return hidden.length ? `${start}; not ${quoted(hidden)}.` : `${start}: all ${seen.length}.`;
}

/** Two lines of words, and a line from each word that asks to each that it sees. */
function picture({ rows, columns, sees }) {
  const middle = (i, count) => `${(100 * (i + 0.5)) / count}%`;
  const lines = rows.map((_row, row) => svg("g", {},
    ...columns.flatMap((_column, i) => (sees[row][i] ? [svg("line", {
      x1: middle(i, columns.length), y1: 0, x2: middle(row, rows.length), y2: HEIGHT,
    })] : []))));
  const words = (list) => list.map((word) => h("span", {}, word));
  const [above, below] = [words(columns), words(rows)];
  // The chosen word's lines come last, on top of the others.
  const drawing = svg("svg", { height: HEIGHT }, ...lines);
  const element = h("div", { class: "attn-sight-picture", "aria-hidden": "true" },
    h("div", { class: "attn-sight-words" }, ...above), drawing,
    h("div", { class: "attn-sight-words" }, ...below));
  return {
    element,
    draw(row) {
      lines.forEach((line, i) => line.classList.toggle("attn-sight-chosen", i === row));
      drawing.append(lines[row]);
      above.forEach((word, i) => word.classList.toggle("attn-sight-hidden", !sees[row][i]));
      below.forEach((word, i) => word.classList.toggle("attn-sight-asks", i === row));
    },
  };
}

/** The same as a table, in whose first column the word that asks is chosen. */
function grid({ rows, columns, sees }, name, onChange) {
  const radios = rows.map((_, i) => h("input", { type: "radio", name, value: i }));
  const lines = rows.map((word, row) => h("tr", {},
    h("th", { scope: "row" }, h("label", {}, radios[row], h("span", {}, word))),
    ...columns.map((_, i) => h("td", {},
      h("i", { class: sees[row][i] ? "attn-sight-dot" : "attn-sight-ring", "aria-hidden": "true" }),
      h("span", { class: "attn-card-unseen" }, sees[row][i] ? "sees" : "does not see")))));
  radios.forEach((radio, i) => radio.addEventListener("change", () => onChange(i)));
  lines.forEach((line, i) => line.addEventListener("click", () => {
    radios[i].checked = true;
    onChange(i);
  }));
  const table = h("table", {},
    h("caption", {}, "A word in the first column asks; a dot: it sees the word above."),
    tableHead("asks", ...columns),
    h("tbody", {}, ...lines));
  return {
    element: h("div", { class: "attn-sight-table" }, table),
    draw(row) {
      radios[row].checked = true;
      lines.forEach((line, i) => line.classList.toggle("attn-sight-row", i === row));
    },
  };
}

/** The figure in its place in a page. */
export function embed(figure, data, { fallback }) {
  const id = freshId();
  const status = statusLine();
  const code = h("code", {});
  const stage = h("div", { class: "attn-sight-stage" });
  const chosen = { kind: 0, row: 0 };
  let parts = [];

  function drawRow() {
    parts.forEach((part) => part.draw(chosen.row));
    status.textContent = sentence(data[chosen.kind], chosen.row);
  }
  function choose(row) {
    chosen.row = row;
    drawRow();
  }
  function drawKind() {
    const one = data[chosen.kind];
    chosen.row = Math.min(chosen.row, one.rows.length - 1);
    code.textContent = one.call;
    parts = [picture(one), grid(one, `${id}-row`, choose)];
    stage.replaceChildren(...parts.map(({ element }) => element));
    drawRow();
  }

  const kinds = choices(`${id}-kind`, "Kind of attention", data.map(({ title }) => title), (i) => {
    chosen.kind = i;
    drawKind();
  });
  drawKind();
  figure.append(card("attn-sight", figure.dataset.label || "What each word may see",
    h("div", { class: "attn-sight-top" }, kinds.group, code), status, stage));
  fallback.classList.add("attn-card-replaced");
}
