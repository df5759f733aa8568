// What the figures of a page share: elements, numbers, the parts of a card, and how a page brings
// its figures to life.
//
// Each figure's file imports from here. attnbook.figures.embedded writes both into one script, so
// no name of this file may be used for something else there.

// --------------------------------------------------------------------------------- elements

/** Set attributes (none for null, undefined and false; an empty one for true), add children. */
export function build(element, attributes = {}, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const h = (tag, attributes, ...children) =>
  build(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// One number on the page, however many scripts there are that hold this: ids must not collide.
export function freshId() {
  globalThis.attnbookFigures = (globalThis.attnbookFigures ?? 0) + 1;
  return `attn-${globalThis.attnbookFigures}`;
}

// ---------------------------------------------------------------------------------- numbers

/** So many decimals, with a true minus and none before a zero. */
export function fixed(value, decimals = 2) {
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

// ------------------------------------------------------------------------------ parts of a card

/** The card that a figure or a question stands in. */
export const card = (className, label, ...children) =>
  h("div", { class: `attn-card ${className}`, role: "group", "aria-label": label }, ...children);

/** The line that a screen reader hears after each step or choice, and everybody can read. */
export const statusLine = () =>
  h("p", { class: "attn-card-status", role: "status", "aria-live": "polite" });

/** Radio buttons in a row; `choose` gets the place of the one that is chosen. */
export function choices(name, legend, texts, choose) {
  const radios = texts.map((_, i) => h("input", { type: "radio", name, value: i, checked: i === 0 }));
  radios.forEach((radio, i) => radio.addEventListener("change", () => choose(i)));
  const group = h("fieldset", { class: "attn-choices" },
    h("legend", { class: "attn-card-unseen" }, legend),
    ...radios.map((radio, i) => h("label", {}, radio, h("span", {}, texts[i]))));
  return { group, radios };
}

export const slider = (label, max) =>
  h("input", {
    type: "range", class: "attn-slider", min: 0, max, step: 1, "aria-label": label,
    // JupyterLab takes the arrow keys away from an input without this mark.
    "data-lm-suppress-shortcuts": "true",
  });

/** The name of a role with its colour as a mark beside it, never as the colour of the text. */
export const role = (name, text) =>
  h("span", { class: "attn-role" }, h("i", { class: `attn-mark attn-${name}` }), text);

export const tableHead = (...names) =>
  h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name))));

/** A box that scrolls; `fit` gives it the keyboard only where there is something to scroll. */
export function scroller(label, className, ...content) {
  const element = h("div", { class: `attn-scroll ${className}` }, ...content);
  const fit = () => {
    const scrolls = element.scrollWidth > element.clientWidth
      || element.scrollHeight > element.clientHeight;
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", label]]) {
      if (scrolls) element.setAttribute(name, value);
      else element.removeAttribute(name);
    }
  };
  return { element, fit };
}

// ------------------------------------------------------------------------------------- page

/**
 * Bring the figures of a kind to life, each once. `embed` gets the figure's element, its data, and
 * the rest of what it has to know: its fallback, its place among the figures of its kind in the
 * page (from 1), and how many these are.
 */
export function bringToLife(name, embed) {
  const start = () => {
    const figures = [...document.querySelectorAll(`.attn-${name}-figure`)];
    figures.forEach((figure, i) => {
      const data = figure.querySelector("script[type='application/json']");
      if (figure.dataset.alive || !data) return;
      figure.dataset.alive = "yes";
      const fallback = figure.querySelector(".attn-fallback");
      embed(figure, JSON.parse(data.textContent), { fallback, place: i + 1, count: figures.length });
    });
  };
  // In a page's head the script runs before the figures exist; in a notebook's output, after.
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
}
