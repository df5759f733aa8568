// Fill in the blank: choose a text and a piece of it to hide, and see what two models guess.
//
// It draws the data of attnbook.figures.blanks. The text is a native select and the pieces are
// native radio buttons, so that arrow keys move in both.

import { card, fixed, freshId, h, statusLine, tableHead } from "./shared.js";

const MASK = "[MASK]";
const SIDES = { both: "Both sides seen", left: "Only the left seen" };

/** A model's place and probability for the hidden piece, in words. */
function verdict(guesses, piece) {
  const place = guesses.findIndex(([guess]) => guess === piece);
  if (place < 0) return `not among the ${guesses.length} best`;
  return `${place ? `guess ${place + 1}` : "first guess"}, ${fixed(guesses[place][1])}`;
}

/** The line that a screen reader hears after each choice, and everybody can read. */
function sentence({ pieces, both, left }, i) {
  return `Hidden: “${pieces[i]}”, ${i + 1} of ${pieces.length}. `
    + `Both sides seen: ${verdict(both[i], pieces[i])}. `
    + `Only the left seen: ${verdict(left[i], pieces[i])}.`;
}

/** A model's guesses as a table with bars. */
function guessTable(title) {
  const body = h("tbody");
  const element = h("table", {}, h("caption", {}, title),
    tableHead("guess", "probability"), body);
  return {
    element,
    draw(guesses, piece) {
      body.replaceChildren(...guesses.map(([guess, probability]) => {
        const bar = h("i", { "aria-hidden": "true" });
        bar.style.width = `${100 * probability}%`;
        const right = guess === piece;
        const row = h("tr", right ? { class: "attn-blank-right" } : {},
          h("th", { scope: "row" }, guess,
            ...(right ? [h("span", { class: "attn-blank-mark" }, " ✓"),
              h("span", { class: "attn-card-unseen" }, " (was hidden)")] : [])),
          h("td", {}, h("span", { class: "attn-blank-track", "aria-hidden": "true" }, bar),
            h("span", {}, fixed(probability))));
        return row;
      }));
    },
  };
}

/** The figure in its place in a page. */
export function embed(figure, data, { fallback }) {
  const id = freshId();
  const status = statusLine();
  const choice = h("select", { id: `${id}-text` }, ...data.map(({ pieces }, i) =>
    h("option", { value: i }, pieces.join(" ").replaceAll(" ##", ""))));
  const line = h("div", { class: "attn-blank-pieces" });
  const hidden = h("fieldset", {}, h("legend", {}, "Hide"), line);
  const tables = Object.fromEntries(
    Object.entries(SIDES).map(([side, title]) => [side, guessTable(title)]));
  const chosen = { text: 0, piece: 0 };
  let labels = [];

  function drawPiece() {
    const one = data[chosen.text];
    const i = chosen.piece;
    labels.forEach((label, place) => {
      label.textContent = place === i ? MASK : one.pieces[place];
      label.classList.toggle("attn-blank-after", place > i);
    });
    for (const [side, { draw }] of Object.entries(tables)) draw(one[side][i], one.pieces[i]);
    status.textContent = sentence(one, i);
  }
  function drawText() {
    const { pieces } = data[chosen.text];
    chosen.piece = Math.min(chosen.piece, pieces.length - 1);
    labels = pieces.map(() => h("span", { "aria-hidden": "true" }));
    line.replaceChildren(...pieces.map((piece, i) => {
      const radio = h("input", { type: "radio", name: `${id}-piece`, value: i, "aria-label": piece });
      radio.checked = i === chosen.piece;
      radio.addEventListener("change", () => {
        chosen.piece = i;
        drawPiece();
      });
      return h("label", {}, radio, labels[i]);
    }));
    drawPiece();
  }
  choice.addEventListener("change", () => {
    chosen.text = choice.selectedIndex;
    drawText();
  });

  chosen.piece = Math.floor(data[0].pieces.length / 2);
  drawText();
  figure.append(card("attn-blank", figure.dataset.label || "Fill in the blank",
    h("p", { class: "attn-blank-text" }, h("label", { for: `${id}-text` }, "Caption "), choice),
    hidden, status,
    h("div", { class: "attn-blank-tables" }, ...Object.values(tables).map(({ element }) => element))));
  fallback.classList.add("attn-card-replaced");
}
