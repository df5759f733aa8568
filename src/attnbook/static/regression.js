// Kernel regression as attention, with points that can be moved.
//
// A reading is a key (where it was taken) and a value (what was read). The answer to a query is the
// softmax of -(query - key)² / 2σ² over all keys, times the values. Everything is computed again
// and drawn again at each touch: a pointer drags a reading, arrow keys move the one in focus, and
// the table's fields take numbers.
//
//   mountRegressions(root)   brings every .attn-regression-figure of a page to life
//
// The card takes its colours, slider and table from scrubber.css.

(() => {
  const HEIGHT = 250; // pixels, of the drawing
  const MARGIN = { left: 34, right: 12, top: 12, bottom: 26 }; // pixels
  const REACH = 14; // pixels around a reading that take hold of it
  const RIBBON = 12; // pixels, of a weight of 1
  const CURVE = 160; // places at which the answer is computed
  const STEP = 0.5; // how far an arrow key moves a reading, and how finely it can be put
  const PAGE = 5; // how far Page Up and Page Down move it
  const ASK = 0.1; // steps of the query

  // ------------------------------------------------------------------------------- numbers

  /** So many decimals, with a true minus and none before a zero. */
  function fixed(value, decimals) {
    const text = Math.abs(value).toFixed(decimals);
    return value < 0 && Number(text) !== 0 ? `−${text}` : text;
  }

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

  // ------------------------------------------------------------------------------ elements

  function build(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) {
        element.setAttribute(name, value === true ? "" : value);
      }
    }
    element.append(...children);
    return element;
  }

  const h = (tag, attributes = {}, ...children) =>
    build(document.createElement(tag), attributes, children);

  const svg = (tag, attributes = {}, ...children) =>
    build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  const set = (element, attributes) => build(element, attributes, []);

  const role = (name, text) =>
    h("span", { class: "attn-role" }, h("i", { class: `attn-mark attn-${name}` }), text);

  const slider = (label, max, step) =>
    h("input", { type: "range", class: "attn-slider", min: 0, max, step, "aria-label": label });

  // -------------------------------------------------------------------------------- figure

  /** One figure, in an element, from the data of its page. */
  function mount(element, start, label) {
    const { key, value, widths } = start;
    const state = {};
    const reset = () => Object.assign(state, {
      keys: [...start.keys],
      values: [...start.values],
      query: start.query,
      width: start.width,
    });
    const at = { x: (k) => k, y: (v) => v }; // places of keys and values, set by fit()

    // What stands around the drawing.
    const widthSlider = slider("Width of the kernel", widths.length - 1, 1);
    const querySlider = slider(`Query, the ${key.name} that is asked about`,
      Math.round((key.high - key.low) / ASK), 1);
    const widthText = h("span", { class: "attn-reg-number", "aria-hidden": "true" });
    const queryText = h("span", { class: "attn-reg-number", "aria-hidden": "true" });
    const again = h("button", { type: "button", class: "attn-button" }, "Start again");
    const status = h("p", { class: "attn-status", role: "status", "aria-live": "polite" });
    const error = h("p", { class: "attn-reg-error" });
    // One number on the page, however many figures it has.
    globalThis.attnbookRegressions = (globalThis.attnbookRegressions ?? 0) + 1;
    const hint = h("p", { class: "attn-reg-hint", id: `attn-regression-${globalThis.attnbookRegressions}` },
      "Drag a reading, or go to it with the Tab key and move it with the four arrow keys.");

    // The drawing, from back to front.
    const grid = svg("g", { class: "attn-reg-grid", "aria-hidden": "true" });
    const reachLine = svg("path", { class: "attn-reg-width" });
    const queryLine = svg("line", { class: "attn-reg-query" });
    const curve = svg("path", { class: "attn-reg-curve" });
    const ribbons = start.keys.map(() => svg("line", { class: "attn-reg-ribbon" }));
    const answerMark = svg("circle", { class: "attn-reg-answer", r: 6 });
    const back = svg("g", { "aria-hidden": "true" },
      reachLine, queryLine, curve, ...ribbons, answerMark);
    const points = start.keys.map((_, i) => svg("g", {
      class: "attn-reg-point", tabindex: 0, role: "slider", "aria-orientation": "vertical",
      "aria-label": `Reading ${i + 1}`, "aria-valuemin": value.low, "aria-valuemax": value.high,
      "aria-describedby": hint.id,
    }, svg("circle", { class: "attn-reg-hold", r: REACH }), svg("circle", { class: "attn-reg-dot", r: 6 })));
    const drawing = svg("svg", {
      class: "attn-reg-drawing", role: "group", "aria-label": label, height: HEIGHT,
    }, grid, back, ...points);

    // The numbers, which can be written into as well.
    const field = (name, i, bounds) => h("input", {
      type: "number", class: "attn-reg-field", min: bounds.low, max: bounds.high, step: STEP,
      "aria-label": `${name} of reading ${i + 1}`,
    });
    const rows = start.keys.map((_, i) => ({
      key: field(key.name, i, key),
      value: field(value.name, i, value),
      score: h("td", {}),
      weight: h("td", {}),
      product: h("td", {}),
    }));
    const sum = { weight: h("td", {}), product: h("td", {}) };
    const heads = ["reading", `key (${key.unit})`, `value (${value.unit})`, "score", "weight",
      "weight × value"];
    const table = h("table", { class: "attn-table attn-reg-table" },
      h("caption", {}, "One look at the readings"),
      h("thead", {}, h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {},
        ...rows.map((row, i) => h("tr", {}, h("th", { scope: "row" }, String(i + 1)),
          h("td", {}, row.key), h("td", {}, row.value), row.score, row.weight, row.product)),
        h("tr", { class: "attn-reg-sum" }, h("th", { scope: "row" }, "sum"),
          h("td", {}), h("td", {}), h("td", {}), sum.weight, sum.product)));
    const box = h("div", { class: "attn-scroll" }, table);
    const details = h("details", { class: "attn-details" },
      h("summary", {}, "The numbers, to read and to change"), box);

    const card = h("div", { class: "attn-scrubber attn-regression", role: "group", "aria-label": "Kernel regression" },
      hint,
      h("div", { class: "attn-reg-row" },
        h("span", { class: "attn-reg-name", "aria-hidden": "true" }, "Width σ"),
        widthSlider, widthText),
      status,
      drawing,
      // Its thumb stands below the line that it moves.
      h("div", { class: "attn-reg-axis", style: `--left:${MARGIN.left}px;--right:${MARGIN.right}px` },
        querySlider),
      h("div", { class: "attn-reg-row" },
        h("span", { class: "attn-reg-name", "aria-hidden": "true" }, "Query"), queryText,
        h("span", { class: "attn-reg-gap" }), again),
      h("p", { class: "attn-reg-legend", "aria-hidden": "true" },
        h("span", {}, role("query", "query ± σ")), h("span", {}, role("value", "weight, as a ribbon")),
        h("span", {}, role("context", "answer")), h("span", {}, "the darker a reading, the more it weighs")),
      error,
      details);

    // ----------------------------------------------------------------------------- drawing

    const path = (places) => places.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

    function drawGrid(width) {
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

    function draw() {
      const { keys, values, query, width } = state;
      const { scores, weights, answer } = look(query, keys, values, width);
      const most = weights.indexOf(Math.max(...weights));

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
      ribbons.forEach((ribbon, i) => {
        set(ribbon, { x1: at.x(keys[i]), y1: at.y(values[i]), x2: at.x(query), y2: at.y(answer) });
        ribbon.style.strokeWidth = `${weights[i] * RIBBON}px`;
      });
      points.forEach((point, i) => {
        set(point, {
          transform: `translate(${at.x(keys[i])} ${at.y(values[i])})`,
          "aria-valuenow": values[i],
          "aria-valuetext": `${key.name} ${short(keys[i])}, ${short(values[i])} ${value.unit}, `
            + `weight ${fixed(weights[i], 2)}`,
        });
        point.style.setProperty("--attn-share", `${(100 * weights[i]).toFixed(1)}%`);
      });

      rows.forEach((row, i) => {
        if (document.activeElement !== row.key) row.key.value = String(keys[i]);
        if (document.activeElement !== row.value) row.value.value = String(values[i]);
        row.score.textContent = fixed(scores[i], 2);
        row.weight.textContent = fixed(weights[i], 3);
        row.product.textContent = fixed(weights[i] * values[i], 2);
      });
      sum.weight.textContent = fixed(weights.reduce((total, weight) => total + weight, 0), 3);
      sum.product.textContent = fixed(answer, 2);

      const place = widths.indexOf(width);
      widthSlider.value = place;
      widthSlider.style.setProperty("--attn-done", place / (widths.length - 1));
      widthSlider.setAttribute("aria-valuetext", `${width} ${key.unit}`);
      widthText.textContent = `${width} ${key.unit}`;
      querySlider.value = Math.round((query - key.low) / ASK);
      querySlider.style.setProperty("--attn-done", 0);
      querySlider.setAttribute("aria-valuetext", `${key.name} ${fixed(query, 1)}`);
      queryText.textContent = `${fixed(query, 1)} ${key.unit}`;
      status.textContent = `At ${key.name} ${fixed(query, 1)} with σ = ${width} ${key.unit}: `
        + `${fixed(answer, 1)} ${value.unit}. Most weight: the reading of ${key.name} `
        + `${short(keys[most])} (${fixed(weights[most], 2)}).`;
      error.textContent = "Each reading predicted from the others with this width: off by "
        + `${fixed(leftOut(keys, values, width), 2)} ${value.unit} on average.`;
    }

    function fit() {
      const width = drawing.getBoundingClientRect().width;
      if (!width) return;
      const [across, up] = [width - MARGIN.left - MARGIN.right, HEIGHT - MARGIN.top - MARGIN.bottom];
      at.x = (k) => MARGIN.left + ((k - key.low) / (key.high - key.low)) * across;
      at.y = (v) => HEIGHT - MARGIN.bottom - ((v - value.low) / (value.high - value.low)) * up;
      at.key = (x) => key.low + ((x - MARGIN.left) / across) * (key.high - key.low);
      at.value = (y) => value.low + ((HEIGHT - MARGIN.bottom - y) / up) * (value.high - value.low);
      set(drawing, { viewBox: `0 0 ${width} ${HEIGHT}` });
      drawGrid(width);
      draw();
      const scrolls = box.scrollWidth > box.clientWidth;
      for (const [name, text] of [["tabindex", "0"], ["role", "group"], ["aria-label", "Numbers; scrolls sideways"]]) {
        if (scrolls) box.setAttribute(name, text);
        else box.removeAttribute(name);
      }
    }

    // ------------------------------------------------------------------------------- hands

    /** Put a reading where it may be, and draw. */
    function move(i, k, v) {
      state.keys[i] = clamp(snap(k), key.low, key.high);
      state.values[i] = clamp(snap(v), value.low, value.high);
      draw();
    }

    points.forEach((point, i) => {
      // Under a finger on a reading the page must not scroll. (touch-action does nothing in an SVG.)
      point.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
      point.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        event.preventDefault(); // no text is selected while the hand moves
        point.focus({ preventScroll: true });
        point.setPointerCapture(event.pointerId);
        const place = drawing.getBoundingClientRect();
        // The reading keeps its distance from the pointer, and does not jump to it.
        const off = [event.clientX - place.left - at.x(state.keys[i]), event.clientY - place.top - at.y(state.values[i])];
        const drag = (moved) => {
          const now = drawing.getBoundingClientRect();
          move(i, at.key(moved.clientX - now.left - off[0]), at.value(moved.clientY - now.top - off[1]));
        };
        const end = () => {
          point.removeEventListener("pointermove", drag);
          ["pointerup", "pointercancel"].forEach((name) => point.removeEventListener(name, end));
        };
        point.addEventListener("pointermove", drag);
        ["pointerup", "pointercancel"].forEach((name) => point.addEventListener(name, end));
      });
      point.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        const [k, v] = [state.keys[i], state.values[i]];
        const to = {
          ArrowUp: [k, v + STEP], ArrowDown: [k, v - STEP],
          ArrowRight: [k + STEP, v], ArrowLeft: [k - STEP, v],
          PageUp: [k, v + PAGE], PageDown: [k, v - PAGE],
          Home: [k, value.low], End: [k, value.high],
        }[event.key];
        if (!to) return;
        event.preventDefault();
        move(i, ...to);
      });
      const written = () => {
        const [k, v] = [rows[i].key, rows[i].value].map((input) => input.valueAsNumber);
        // A field that is empty or half written changes nothing yet.
        move(i, Number.isNaN(k) ? state.keys[i] : k, Number.isNaN(v) ? state.values[i] : v);
      };
      for (const input of [rows[i].key, rows[i].value]) {
        input.addEventListener("input", written);
        input.addEventListener("blur", draw);
      }
    });
    widthSlider.addEventListener("input", () => {
      state.width = widths[Number(widthSlider.value)];
      draw();
    });
    querySlider.addEventListener("input", () => {
      state.query = Math.round((key.low + Number(querySlider.value) * ASK) * 10) / 10;
      draw();
    });
    again.addEventListener("click", () => {
      reset();
      draw();
    });

    reset();
    element.append(card);
    fit();
    new ResizeObserver(fit).observe(card);
  }

  function mountRegressions(root = document) {
    for (const figure of root.querySelectorAll(".attn-regression-figure:not([data-alive])")) {
      figure.dataset.alive = "yes";
      const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
      figure.querySelector(".attn-fallback").setAttribute("hidden", "");
      mount(figure, data, figure.dataset.label);
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => mountRegressions());
  else mountRegressions();
})();
