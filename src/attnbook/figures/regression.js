// Kernel regression as attention, with points that can be moved.
//
// A reading is a key (where it was taken) and a value (what was read). The answer to a query is the
// softmax of -(query - key)² / 2σ² over all keys, times the values. Everything is computed again
// and drawn again at each touch: a pointer drags a reading, arrow keys move the one in focus, and
// the table's fields take numbers.

import {
  build, card, fixed, freshId, h, role, scroller, slider, statusLine, svg, tableHead,
} from "./shared.js";

const HEIGHT = 250; // pixels, of the drawing
const MARGIN = { left: 34, right: 12, top: 12, bottom: 26 }; // pixels
const REACH = 14; // pixels around a reading that take hold of it
const RIBBON = 12; // pixels, of a weight of 1
const CURVE = 160; // places at which the answer is computed
const STEP = 0.5; // how far an arrow key moves a reading, and how finely it can be put
const PAGE = 5; // how far Page Up and Page Down move it
const ASK = 0.1; // steps of the query

// ------------------------------------------------------------------------ computing

/** As short as it is exact: 8, 8.5. */
const short = (value) => fixed(value, Number.isInteger(value) ? 0 : 1);

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const snap = (value) => Math.round(value / STEP) * STEP;

function softmax(scores) {
  const highest = Math.max(...scores);
  const shares = scores.map((score) => Math.exp(score - highest));
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.map((share) => share / total);
}

/** Scores, weights and their weighted sum: one look at the readings. */
function look(query, keys, values, width) {
  const scores = keys.map((key) => -((query - key) ** 2) / (2 * width ** 2));
  const weights = softmax(scores);
  const answer = weights.reduce((sum, weight, i) => sum + weight * values[i], 0);
  return { scores, weights, answer };
}

/** How far off each reading is, on average, when it is predicted from the others. */
function leftOut(keys, values, width) {
  const errors = keys.map((key, left) => {
    const others = (list) => list.filter((_, i) => i !== left);
    return Math.abs(look(key, others(keys), others(values), width).answer - values[left]);
  });
  return errors.reduce((sum, error) => sum + error, 0) / errors.length;
}

// ------------------------------------------------------------------------------- drawing

const set = (element, attributes) => build(element, attributes);

const path = (places) =>
  places.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** Places of keys and values in a drawing of this width, and back. */
function scales({ key, value }, width) {
  const [across, up] = [width - MARGIN.left - MARGIN.right, HEIGHT - MARGIN.top - MARGIN.bottom];
  return {
    x: (k) => MARGIN.left + ((k - key.low) / (key.high - key.low)) * across,
    y: (v) => HEIGHT - MARGIN.bottom - ((v - value.low) / (value.high - value.low)) * up,
    key: (x) => key.low + ((x - MARGIN.left) / across) * (key.high - key.low),
    value: (y) => value.low + ((HEIGHT - MARGIN.bottom - y) / up) * (value.high - value.low),
  };
}

/** The lines of both axes with their numbers; the last number has the unit. */
function drawGrid(grid, { key, value }, at, width) {
  grid.replaceChildren();
  const bottom = HEIGHT - MARGIN.bottom;
  for (let k = key.low; k <= key.high; k += key.tick) {
    const last = k + key.tick > key.high;
    grid.append(svg("line", { x1: at.x(k), x2: at.x(k), y1: bottom, y2: bottom + 4 }),
      svg("text", { x: at.x(k), y: bottom + 17, "text-anchor": last ? "end" : "middle" },
        last ? `${k} ${key.unit}` : String(k)));
  }
  for (let v = value.low; v <= value.high; v += value.tick) {
    const last = v + value.tick > value.high;
    grid.append(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: at.y(v), y2: at.y(v) }),
      svg("text", { x: MARGIN.left - 6, y: at.y(v) + 4, "text-anchor": "end" }, String(v)));
    if (last) grid.append(svg("text", { x: MARGIN.left + 4, y: at.y(v) + 14 }, value.unit));
  }
}

/** A reading in the drawing, that a hand or the keyboard moves. */
const reading = (i, { value }, hint) => svg("g", {
  class: "attn-reg-point", tabindex: 0, role: "slider", "aria-orientation": "vertical",
  "aria-label": `Reading ${i + 1}`, "aria-valuemin": value.low, "aria-valuemax": value.high,
  "aria-describedby": hint,
}, svg("circle", { class: "attn-reg-hold", r: REACH }), svg("circle", { class: "attn-reg-dot", r: 6 }));

/** Readings, curve, query and answer; `fit` says whether there is room to draw in. */
function picture(start, label, hint) {
  const { key, value } = start;
  const grid = svg("g", { class: "attn-reg-grid", "aria-hidden": "true" });
  const reachLine = svg("path", { class: "attn-reg-width" });
  const queryLine = svg("line", { class: "attn-reg-query" });
  const curve = svg("path", { class: "attn-reg-curve" });
  const ribbons = start.keys.map(() => svg("line", { class: "attn-reg-ribbon" }));
  const answerMark = svg("circle", { class: "attn-reg-answer", r: 6 });
  const points = start.keys.map((_, i) => reading(i, start, hint));
  const element = svg("svg", {
    class: "attn-reg-drawing", role: "group", "aria-label": label, height: HEIGHT,
  }, grid, svg("g", { "aria-hidden": "true" },
    reachLine, queryLine, curve, ...ribbons, answerMark), ...points);
  let at = scales(start, 0);

  function drawQuery({ keys, values, query, width }, answer) {
    const bottom = HEIGHT - MARGIN.bottom;
    const places = Array.from({ length: CURVE + 1 }, (_, i) => {
      const k = key.low + (i / CURVE) * (key.high - key.low);
      return [at.x(k), at.y(look(k, keys, values, width).answer)];
    });
    set(curve, { d: path(places) });
    set(queryLine, { x1: at.x(query), x2: at.x(query), y1: MARGIN.top, y2: bottom });
    const [from, to] = [-1, 1].map((side) => at.x(clamp(query + side * width, key.low, key.high)));
    set(reachLine, { d: `M${from} ${bottom - 4}V${bottom}H${to}V${bottom - 4}` });
    set(answerMark, { cx: at.x(query), cy: at.y(answer) });
  }

  return {
    element,
    points,
    scale: () => at,
    fit() {
      const { width } = element.getBoundingClientRect();
      if (!width) return false;
      at = scales(start, width);
      set(element, { viewBox: `0 0 ${width} ${HEIGHT}` });
      drawGrid(grid, start, at, width);
      return true;
    },
    draw(state, { weights, answer }) {
      const { keys, values, query } = state;
      drawQuery(state, answer);
      ribbons.forEach((ribbon, i) => {
        set(ribbon, { x1: at.x(keys[i]), y1: at.y(values[i]), x2: at.x(query), y2: at.y(answer) });
        ribbon.style.strokeWidth = `${weights[i] * RIBBON}px`;
      });
      points.forEach((point, i) => {
        set(point, {
          transform: `translate(${at.x(keys[i])} ${at.y(values[i])})`,
          "aria-valuenow": values[i],
          "aria-valuetext": `${key.name} ${short(keys[i])}, ${short(values[i])} ${value.unit}, `
            + `weight ${fixed(weights[i])}`,
        });
        point.style.setProperty("--attn-share", `${(100 * weights[i]).toFixed(1)}%`);
      });
    },
  };
}

// ------------------------------------------------------------------------------- numbers

/** The readings as a table whose keys and values can be written into. */
function numbers({ key, value, keys: { length } }) {
  const field = (name, i, bounds) => h("input", {
    type: "number", class: "attn-reg-field", min: bounds.low, max: bounds.high, step: STEP,
    "aria-label": `${name} of reading ${i + 1}`,
  });
  const rows = Array.from({ length }, (_, i) => ({
    key: field(key.name, i, key), value: field(value.name, i, value),
    score: h("td"), weight: h("td"), product: h("td"),
  }));
  const sum = { weight: h("td"), product: h("td") };
  const table = h("table", { class: "attn-table attn-reg-table" },
    h("caption", {}, "One look at the readings"),
    tableHead("reading", `key (${key.unit})`, `value (${value.unit})`, "score", "weight",
      "weight × value"),
    h("tbody", {},
      ...rows.map((row, i) => h("tr", {}, h("th", { scope: "row" }, String(i + 1)),
        h("td", {}, row.key), h("td", {}, row.value), row.score, row.weight, row.product)),
      h("tr", { class: "attn-reg-sum" }, h("th", { scope: "row" }, "sum"),
        h("td"), h("td"), h("td"), sum.weight, sum.product)));
  const box = scroller("Numbers; scrolls sideways", "attn-reg-numbers", table);
  return {
    element: h("details", { class: "attn-details" },
      h("summary", {}, "The numbers, to read and to change"), box.element),
    rows,
    fit: box.fit,
    draw({ keys, values }, { scores, weights, answer }) {
      rows.forEach((row, i) => {
        if (document.activeElement !== row.key) row.key.value = String(keys[i]);
        if (document.activeElement !== row.value) row.value.value = String(values[i]);
        row.score.textContent = fixed(scores[i]);
        row.weight.textContent = fixed(weights[i], 3);
        row.product.textContent = fixed(weights[i] * values[i]);
      });
      sum.weight.textContent = fixed(weights.reduce((total, weight) => total + weight, 0), 3);
      sum.product.textContent = fixed(answer);
    },
  };
}

// ------------------------------------------------------------------------------ controls

/** Both sliders with their numbers, and the two lines that say what is seen. */
function controls({ key, value, widths }) {
  const number = () => h("span", { class: "attn-reg-number", "aria-hidden": "true" });
  const [widthText, queryText] = [number(), number()];
  const width = slider("Width of the kernel", widths.length - 1);
  const query = slider(`Query, the ${key.name} that is asked about`,
    Math.round((key.high - key.low) / ASK));
  const [status, error] = [statusLine(), h("p", { class: "attn-reg-error" })];
  return {
    width, query, widthText, queryText, status, error,
    draw(state, { weights, answer }) {
      const { keys, values } = state;
      const asked = `${key.name} ${fixed(state.query, 1)}`;
      const reach = `${state.width} ${key.unit}`;
      const most = weights.indexOf(Math.max(...weights));
      const place = widths.indexOf(state.width);
      width.value = place;
      width.style.setProperty("--attn-done", place / (widths.length - 1));
      width.setAttribute("aria-valuetext", reach);
      widthText.textContent = reach;
      query.value = Math.round((state.query - key.low) / ASK);
      query.style.setProperty("--attn-done", 0);
      query.setAttribute("aria-valuetext", asked);
      queryText.textContent = `${fixed(state.query, 1)} ${key.unit}`;
      status.textContent = `At ${asked} with σ = ${reach}: ${fixed(answer, 1)} ${value.unit}. `
        + `Most weight: the reading of ${key.name} ${short(keys[most])} (${fixed(weights[most])}).`;
      error.textContent = "Each reading predicted from the others with this width: off by "
        + `${fixed(leftOut(keys, values, state.width))} ${value.unit} on average.`;
    },
  };
}

// --------------------------------------------------------------------------------- hands

/** A pointer takes hold of a point; `to` gets the places in the drawing that it goes to. */
function drag(point, drawing, from, to) {
  // Under a finger on a reading the page must not scroll. (touch-action does nothing in an SVG.)
  point.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
  point.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault(); // no text is selected while the hand moves
    point.focus({ preventScroll: true });
    point.setPointerCapture(event.pointerId);
    const place = drawing.getBoundingClientRect();
    // The reading keeps its distance from the pointer, and does not jump to it.
    const [x, y] = from();
    const off = [event.clientX - place.left - x, event.clientY - place.top - y];
    const moved = ({ clientX, clientY }) => {
      const now = drawing.getBoundingClientRect();
      to(clientX - now.left - off[0], clientY - now.top - off[1]);
    };
    const end = () => {
      point.removeEventListener("pointermove", moved);
      ["pointerup", "pointercancel"].forEach((name) => point.removeEventListener(name, end));
    };
    point.addEventListener("pointermove", moved);
    ["pointerup", "pointercancel"].forEach((name) => point.addEventListener(name, end));
  });
}

/** Where a key of the keyboard puts a reading; nowhere for keys that say nothing here. */
const pressed = (name, k, v, { low, high }) => ({
  ArrowUp: [k, v + STEP], ArrowDown: [k, v - STEP],
  ArrowRight: [k + STEP, v], ArrowLeft: [k - STEP, v],
  PageUp: [k, v + PAGE], PageDown: [k, v - PAGE],
  Home: [k, low], End: [k, high],
}[name]);

/** The hand, the keyboard and the fields of the table move a reading. */
function listen(i, { state, value, drawing, table, move, draw }) {
  const point = drawing.points[i];
  drag(point, drawing.element,
    () => [drawing.scale().x(state.keys[i]), drawing.scale().y(state.values[i])],
    (x, y) => move(i, drawing.scale().key(x), drawing.scale().value(y)));
  point.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const to = pressed(event.key, state.keys[i], state.values[i], value);
    if (!to) return;
    event.preventDefault();
    move(i, ...to);
  });
  const fields = [table.rows[i].key, table.rows[i].value];
  const written = () => {
    const [k, v] = fields.map((input) => input.valueAsNumber);
    // A field that is empty or half written changes nothing yet.
    move(i, Number.isNaN(k) ? state.keys[i] : k, Number.isNaN(v) ? state.values[i] : v);
  };
  for (const input of fields) {
    input.addEventListener("input", written);
    input.addEventListener("blur", draw);
  }
}

// -------------------------------------------------------------------------------- figure

/** The card with everything in its place. */
function frame(hint, { width, query, widthText, queryText, status, error }, drawing, table, again) {
  const name = (text) => h("span", { class: "attn-reg-name", "aria-hidden": "true" }, text);
  return card("attn-scrubber attn-regression", "Kernel regression",
    hint,
    h("div", { class: "attn-reg-row" }, name("Width σ"), width, widthText),
    status,
    drawing.element,
    // Its thumb stands below the line that it moves.
    h("div", { class: "attn-reg-axis", style: `--left:${MARGIN.left}px;--right:${MARGIN.right}px` },
      query),
    h("div", { class: "attn-reg-row" },
      name("Query"), queryText, h("span", { class: "attn-reg-gap" }), again),
    h("p", { class: "attn-reg-legend", "aria-hidden": "true" },
      h("span", {}, role("query", "query ± σ")), h("span", {}, role("value", "weight, as a ribbon")),
      h("span", {}, role("context", "answer")), h("span", {}, "the darker a reading, the more it weighs")),
    error,
    table.element);
}

/** The figure in its place in a page; `start` is its data. */
export function embed(figure, start, { fallback }) {
  const { key, value, widths } = start;
  const state = {};
  const reset = () => Object.assign(state, {
    keys: [...start.keys], values: [...start.values], query: start.query, width: start.width,
  });
  const hint = h("p", { class: "attn-reg-hint", id: freshId() },
    "Drag a reading, or go to it with the Tab key and move it with the four arrow keys.");
  const again = h("button", { type: "button", class: "attn-button" }, "Start again");
  const drawing = picture(start, figure.dataset.label, hint.id);
  const [table, sliders] = [numbers(start), controls(start)];

  function draw() {
    const seen = look(state.query, state.keys, state.values, state.width);
    for (const part of [drawing, table, sliders]) part.draw(state, seen);
  }
  function fit() {
    if (!drawing.fit()) return;
    draw();
    table.fit();
  }
  /** Put a reading where it may be, and draw. */
  function move(i, k, v) {
    state.keys[i] = clamp(snap(k), key.low, key.high);
    state.values[i] = clamp(snap(v), value.low, value.high);
    draw();
  }

  start.keys.forEach((_, i) => listen(i, { state, value, drawing, table, move, draw }));
  sliders.width.addEventListener("input", () => {
    state.width = widths[Number(sliders.width.value)];
    draw();
  });
  sliders.query.addEventListener("input", () => {
    state.query = Math.round((key.low + Number(sliders.query.value) * ASK) * 10) / 10;
    draw();
  });
  again.addEventListener("click", () => {
    reset();
    draw();
  });

  reset();
  fallback.hidden = true;
  const whole = frame(hint, sliders, drawing, table, again);
  figure.append(whole);
  fit();
  new ResizeObserver(fit).observe(whole);
}
