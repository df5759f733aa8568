// The scrubber: one decoding step at a time, from the query to the next word.
//
// It draws a trace (the JSON of attnbook.trace.DecodingTrace), and optionally a second trace of
// the same source sentence by a decoder without attention.
//
//   mount(element, {trace, without, step, attentionOn, kind, layer, head, message, onChange})
//       -> {update(changes), destroy()}
//   embed(figure, …)   a figure in its place in a page
//   default {render}   the same figure as an anywidget
//
// Layout: source words across, decoding downwards; the future is not drawn. Colours come as
// light-dark() pairs, so the figure follows its page's theme without being drawn again.

import {
  card, choices, fixed, freshId, h, role, scroller, slider, statusLine, svg, tableHead,
} from "./shared.js";

const CANDIDATES = 5; // next words shown
const NUMBERS_UP_TO = 8; // a vector of at most so many entries shows its numbers
const ROWS = 16; // entries in one column of a wider vector's patch
const LEVELS = 8; // shades on each side of zero in a patch
const PATCH = { width: 44, height: 64 }; // pixels
const RIBBON = { height: 58, thickest: 22 }; // pixels
const MATRIX = { narrowest: 14, numbers: 36, widest: 56 }; // pixels, width of a cell
const PLAY_EVERY = 1400; // milliseconds
const ALL_HEADS = -1; // their mean
const KINDS = { source: "to the source", written: "to what is written", encoder: "within the source" };
// Beside the weights: shares of each source word in a step, measured in other ways.
const MEASURES = {
  gradient: "gradient", "gradient times state": "gradient × state", "word left out": "word left out",
};

// ---------------------------------------------------------------------------------- numbers

/** Two decimals; null is how JSON carries the -inf of a masked word. */
const two = (value) => (value === null ? "−∞" : fixed(value));

/** Position of the largest entry; -1 where nothing is above zero. */
function heaviest(weights) {
  let best = -1;
  weights.forEach((weight, i) => {
    if (weight > (best < 0 ? 0 : weights[best])) best = i;
  });
  return best;
}

function largestMagnitude(...tables) {
  const rows = tables.filter(Boolean).flat();
  return Math.max(1e-9, ...rows.map((row) => Math.max(...row.map(Math.abs))));
}

// ---------------------------------------------------------------------------------- colours

// Each ramp: [light theme, dark theme], from the card's background through a middle to the end.
const RAMPS = {
  weight: [
    ["#ffffff", "#6baed6", "#08306b"],
    ["#14181e", "#2a659c", "#a9d3ff"],
  ],
  negative: [
    ["#ffffff", "#d8b365", "#8c510a"],
    ["#14181e", "#8a5f26", "#f3cd8f"],
  ],
  positive: [
    ["#ffffff", "#5ab4ac", "#01665e"],
    ["#14181e", "#23776f", "#93e6db"],
  ],
};

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

function mix(ramp, amount) {
  const x = Math.min(1, Math.max(0, amount)) * (ramp.length - 1);
  const low = Math.min(Math.floor(x), ramp.length - 2);
  const [from, to] = [channels(ramp[low]), channels(ramp[low + 1])];
  return from.map((value, i) => Math.round(value + (to[i] - value) * (x - low)));
}

/** Black or white, whichever reads better on the colour (WCAG relative luminance). */
function inkOn(rgb) {
  const linear = rgb.map((value) => {
    const v = value / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? "#000" : "#fff";
}

/** Background and ink of a cell, for both themes at once. */
function shade(rampName, amount) {
  const both = RAMPS[rampName].map((ramp) => mix(ramp, amount));
  const [light, dark] = both.map((rgb) => `rgb(${rgb.join(" ")})`);
  return {
    background: `light-dark(${light}, ${dark})`,
    ink: `light-dark(${both.map(inkOn).join(", ")})`,
  };
}

const signed = (value, scale) =>
  shade(value < 0 ? "negative" : "positive", Math.abs(value) / scale);

function paint(element, { background, ink }) {
  element.style.backgroundColor = background;
  element.style.color = ink;
}

// --------------------------------------------------------------------------------- elements

const icon = (path) =>
  svg("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    svg("path", { d: path, fill: "currentColor" }));

const ICONS = {
  previous: "M11 2 4 8l7 6z",
  next: "M5 2l7 6-7 6z",
  play: "M4 2l9 6-9 6z",
  stop: "M3 3h10v10H3z",
};

// ---------------------------------------------------------------------------------- vectors

/** A vector: a column of numbers if it is short, otherwise a patch of signed cells. */
function vector(values, scale) {
  return values.length <= NUMBERS_UP_TO ? numbers(values, scale) : patch(values, scale);
}

function numbers(values, scale) {
  const cells = values.map((value) => {
    const cell = h("span", {}, two(value));
    paint(cell, signed(value, scale));
    return cell;
  });
  return h("span", { class: "attn-vector" }, ...cells);
}

/** Columns of sixteen cells, read downwards; one path for each shade keeps the page light. */
function patch(values, scale) {
  const columns = Math.ceil(values.length / ROWS);
  const rows = Math.min(values.length, ROWS);
  const shades = new Map();
  values.forEach((value, i) => {
    const level = Math.round(Math.max(-1, Math.min(1, value / scale)) * LEVELS);
    if (level === 0) return;
    const cell = `M${Math.floor(i / ROWS)} ${i % ROWS}h1v1h-1z`;
    shades.set(level, (shades.get(level) ?? "") + cell);
  });
  const paths = [...shades].map(([level, d]) =>
    svg("path", { d, style: `fill:${signed(level, LEVELS).background}` }));
  return svg("svg", {
    class: "attn-patch",
    viewBox: `0 0 ${columns} ${rows}`,
    width: PATCH.width,
    height: PATCH.height,
    preserveAspectRatio: "none",
    "shape-rendering": "crispEdges",
  }, ...paths);
}

// ----------------------------------------------------------------------------------- figure

/** Draw the figure into an element and keep it up to date. */
export function mount(element, options) {
  const state = {
    trace: null, without: null, step: 0, attentionOn: true, message: "",
    kind: "source", layer: null, head: ALL_HEADS,
    label: "Decoding, step by step", onChange: () => {},
    ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
  };
  const id = freshId();
  const leaving = new AbortController(); // takes all handlers away
  const { signal } = leaving;
  const parts = frame(id, state.label, (i) => change({ attentionOn: i === 0 }));
  let view = null; // what depends on the trace being shown

  const chosen = () => (state.attentionOn || !state.without ? state.trace : state.without);
  const shown = () => (chosen().maps ? seenBy(chosen(), state) : chosen());
  const lastStep = () => shown().target_tokens.length - 1;
  const tell = () => {
    const { step, attentionOn, kind, layer, head } = state;
    state.onChange({ step, attentionOn, kind, layer, head });
  };

  function drawStep() {
    state.step = Math.max(0, Math.min(lastStep(), state.step));
    drawPosition(parts, shown(), state.step);
    view.draw(state.step);
  }
  function drawTrace() {
    offerHeads(parts, chosen().maps, state);
    parts.card.classList.toggle("attn-has-switch", Boolean(state.without));
    parts.switch.hidden = !state.without;
    parts.radios[state.attentionOn ? 0 : 1].checked = true;
    parts.model.textContent = shown().model;
    parts.slider.max = lastStep();
    view?.destroy();
    view = stage(shown(), parts, id);
    drawStep();
    view.fit();
  }
  function drawMessage() {
    parts.message.textContent = state.message;
    parts.message.hidden = !state.message;
  }

  /** The reader chose a step, or the player did. */
  function go(step) {
    state.step = step;
    drawStep();
    tell();
  }
  /** The reader chose something else to look at. */
  function change(choice) {
    stop();
    Object.assign(state, choice);
    drawTrace();
    tell();
  }

  const stop = player(parts.play, {
    signal, go, step: () => state.step, atEnd: () => state.step === lastStep(),
  });
  const stopAndGo = (target, event, step) => target.addEventListener(event, () => {
    stop();
    go(step());
  }, { signal });
  stopAndGo(parts.slider, "input", () => Number(parts.slider.value));
  stopAndGo(parts.previous, "click", () => state.step - 1);
  stopAndGo(parts.next, "click", () => state.step + 1);
  for (const name of ["kind", "layer", "head"]) {
    const chosenValue = () => (name === "kind" ? parts.kind.value : Number(parts[name].value));
    parts[name].addEventListener("change", () => change({ [name]: chosenValue() }), { signal });
  }
  showAllOnPaper(parts.details, { signal, state, lastStep, drawStep });
  const sizes = new ResizeObserver(() => view?.fit());
  sizes.observe(parts.card);

  drawMessage();
  element.replaceChildren(parts.card);
  drawTrace();

  return {
    update(changes) {
      Object.assign(state, changes);
      if ("message" in changes) drawMessage();
      if (["trace", "without", "attentionOn", "kind", "layer", "head"].some((name) => name in changes)) {
        stop();
        drawTrace();
      } else if ("step" in changes) {
        drawStep();
      }
    },
    destroy() {
      stop();
      sizes.disconnect();
      leaving.abort();
      view?.destroy();
      parts.card.remove();
    },
  };
}

/** Slider, count, buttons and the status line at a step. */
function drawPosition(parts, trace, step) {
  const { target_tokens: words } = trace;
  const steps = words.length;
  parts.slider.value = step;
  parts.slider.style.setProperty("--attn-done", steps > 1 ? step / (steps - 1) : 1);
  parts.slider.setAttribute("aria-valuetext", `Step ${step + 1} of ${steps}, ${words[step]}`);
  parts.count.textContent = `${step + 1} / ${steps}`;
  parts.previous.setAttribute("aria-disabled", step === 0);
  parts.next.setAttribute("aria-disabled", step === steps - 1);
  parts.status.textContent = sentence(trace, step);
}

/** The selects offer what the trace has; a choice that it lacks falls back to the top layer. */
function offerHeads(parts, maps, state) {
  parts.heads.hidden = !maps;
  if (!maps) return;
  if (!maps.some(({ kind }) => kind === state.kind)) state.kind = maps[0].kind;
  const { weights } = maps.find(({ kind }) => kind === state.kind);
  if (state.layer === null || state.layer >= weights.length) state.layer = weights.length - 1;
  if (state.head >= weights[0].length) state.head = ALL_HEADS;
  const fill = (select, entries, value) => {
    select.replaceChildren(...entries.map(([key, text]) => h("option", { value: key }, text)));
    select.value = value;
  };
  const count = (list) => list.map((_, i) => [i, String(i + 1)]);
  const measured = maps.some(({ kind }) => kind in MEASURES);
  const names = measured ? { ...MEASURES, source: "weight" } : KINDS;
  parts.heads.querySelector("label").textContent = measured ? "Shares by" : "Attention";
  for (const name of ["layer", "head"]) parts[name].parentElement.hidden = measured;
  fill(parts.kind, maps.map(({ kind }) => [kind, names[kind]]), state.kind);
  fill(parts.layer, count(weights), state.layer);
  fill(parts.head, [[ALL_HEADS, "mean of all"], ...count(weights[0])], state.head);
}

/** The button that goes on step by step, off under reduced motion; gives what stops it. */
function player(button, { signal, go, step, atEnd }) {
  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    button.replaceChildren(icon(ICONS.play), "Play");
  }
  function play() {
    if (atEnd()) go(0);
    button.replaceChildren(icon(ICONS.stop), "Stop");
    timer = setInterval(() => {
      go(step() + 1);
      if (atEnd()) stop();
    }, PLAY_EVERY);
  }
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const respectMotion = () => {
    if (calm.matches) stop();
    button.disabled = calm.matches;
    button.title = calm.matches ? "Off, because your system asks for reduced motion" : "";
  };
  button.addEventListener("click", () => (timer ? stop() : play()), { signal });
  calm.addEventListener("change", respectMotion, { signal });
  stop();
  respectMotion();
  return stop;
}

/** Paper shows the last step, with its table; afterwards the reader's step comes back. */
function showAllOnPaper(details, { signal, state, lastStep, drawStep }) {
  const paper = matchMedia("print");
  let before = null;
  paper.addEventListener("change", () => {
    if (paper.matches && !before) {
      before = { step: state.step, open: details.open };
      state.step = lastStep();
      details.open = true;
    } else if (!paper.matches && before) {
      state.step = before.step;
      details.open = before.open;
      before = null;
    }
    drawStep();
  }, { signal });
}

/** The trace as one head, or the mean of a layer's heads, sees it. */
function seenBy(trace, { kind, layer, head }) {
  const { rows, columns, weights } = trace.maps.find((map) => map.kind === kind);
  const heads = weights[layer];
  const mean = () => heads[0].map((row, t) =>
    row.map((_, i) => heads.reduce((sum, one) => sum + one[t][i], 0) / heads.length));
  const within = kind === "encoder"; // nothing is being written
  return {
    model: trace.model,
    layers: weights.length,
    source_tokens: columns,
    target_tokens: rows,
    weights: head === ALL_HEADS ? mean() : heads[head],
    log_probs: within ? null : trace.log_probs,
    candidates: within ? null : trace.candidates,
    gold_links: kind === "source" || kind in MEASURES ? trace.gold_links : null,
    words: kind === "written" ? "words read" : "source words",
    ...(kind in MEASURES && { quantity: "share", looks: "has its largest share at" }),
  };
}

/** The sentence that a screen reader hears after each step, and everybody can read. */
function sentence(trace, step) {
  const word = trace.target_tokens[step];
  if (!trace.log_probs) {
    const most = heaviest(trace.weights[step]);
    return `Word ${step + 1} of ${trace.target_tokens.length}: “${word}” looks most at `
      + `“${trace.source_tokens[most]}” (${two(trace.weights[step][most])}).`;
  }
  const probability = two(Math.exp(trace.log_probs[step]));
  const start = `Step ${step + 1} of ${trace.target_tokens.length}: writes “${word}” (${probability})`;
  if (!trace.weights) return `${start}; this decoder has no weights.`;
  const most = heaviest(trace.weights[step]);
  if (most < 0) return `${start}; every source word is masked.`;
  const weight = two(trace.weights[step][most]);
  return `${start}, ${trace.looks ?? "looks most at"} “${trace.source_tokens[most]}” (${weight}).`;
}

/** What stays the same whatever the trace: the card, its controls, its empty stage. */
function frame(id, label, choose) {
  const button = (name, says, ...content) =>
    h("button", { type: "button", class: `attn-button attn-${name}`, "aria-label": says }, ...content);
  const select = (name) =>
    h("select", { id: `${id}-${name}`, "data-lm-suppress-shortcuts": "true" });

  const parts = {
    previous: button("previous", "Previous step", icon(ICONS.previous)),
    next: button("next", "Next step", icon(ICONS.next)),
    play: button("play", null),
    slider: slider("Decoding step"),
    count: h("span", { class: "attn-count", "aria-hidden": "true" }),
    model: h("span", { class: "attn-model" }),
    status: statusLine(),
    message: h("p", { class: "attn-message", role: "alert", hidden: true }),
    stage: h("div", { class: "attn-stage" }),
    kind: select("kind"),
    layer: select("layer"),
    head: select("head"),
    details: h("details", { class: "attn-details" }),
  };
  const decoders = choices(`${id}-switch`, "Decoder", ["With attention", "Without"], choose);
  parts.radios = decoders.radios;
  parts.switch = decoders.group;
  const labelled = (text, input) =>
    h("span", {}, h("label", { for: input.id }, text), input);
  parts.heads = h("div", { class: "attn-heads", role: "group", "aria-label": "What is shown", hidden: true },
    labelled("Attention", parts.kind), labelled("Layer", parts.layer), labelled("Head", parts.head));
  parts.card = card("attn-scrubber", label,
    h("div", { class: "attn-top" }, parts.model, parts.switch),
    parts.heads,
    h("div", { class: "attn-controls" },
      parts.previous, parts.next, parts.play, parts.slider, parts.count),
    parts.message, parts.status, parts.stage, parts.details);
  return parts;
}

/** Everything that belongs to one trace; draw(step) shows one of its steps. */
function stage(trace, parts, id) {
  const scale = trace.encoder_states
    ? largestMagnitude(trace.encoder_states, trace.decoder_states, trace.queries)
    : null; // of one head there are weights alone
  const gold = new Set((trace.gold_links ?? []).map(([source, target]) => `${source},${target}`));
  const isGold = (source, target) => gold.has(`${source},${target}`);

  const written = writtenWords(trace);
  let flow;
  if (scale === null) flow = headFlow(trace, isGold);
  else flow = trace.weights ? attentionFlow(trace, scale, isGold) : fixedFlow(trace, scale);
  const result = scale === null ? headPanel(trace) : resultPanel(trace, scale);
  const matrix = trace.weights ? weightMatrix(trace, isGold) : null;
  const tables = stepTables(trace, isGold, id);

  parts.stage.replaceChildren(
    written.element,
    h("div", { class: "attn-body" },
      h("div", { class: "attn-main" }, flow.element, result.element),
      matrix?.element ?? null),
    legend(trace, scale, trace.weights && gold.size > 0));
  const open = parts.details.open;
  parts.details.replaceChildren(h("summary", {}, "This step in numbers"), tables.element);
  parts.details.open = open;

  const all = [written, flow, result, matrix, tables].filter(Boolean);
  const fit = () => all.forEach((part) => part.fit?.());
  return {
    draw(step) {
      // First everything is written, then everything is measured: one layout for each step.
      all.forEach((part) => part.draw(step));
      all.forEach((part) => part.bringIntoView?.());
    },
    fit,
    destroy() {
      all.forEach((part) => part.destroy?.());
    },
  };
}

/** The translation so far; later words keep their place but are not shown. */
function writtenWords(trace) {
  const words = trace.target_tokens.map((word) => h("span", { class: "attn-written-word" }, word));
  const label = trace.log_probs ? "Written" : "Read";
  const box = scroller(`${label} so far; scrolls`, "attn-written-box",
    h("p", { class: "attn-written" }, h("span", { class: "attn-label" }, label), ...words));
  let current = words[0];
  return {
    element: box.element,
    draw(step) {
      current = words[step];
      words.forEach((word, t) => {
        word.classList.toggle("attn-current", t === step);
        word.classList.toggle("attn-future", Boolean(trace.log_probs) && t > step);
      });
    },
    bringIntoView: () => bringDown(box.element, current, words[0]),
    fit: box.fit,
  };
}

const capitalized = (text) => text[0].toUpperCase() + text.slice(1);

/** A numbered line that says what the row under it shows. */
const caption = (number, ...content) =>
  h("p", { class: "attn-caption" },
    h("span", {}, h("b", { class: "attn-number" }, String(number)), ...content));

/** Scroll a box, and nothing around it, until a part of it is in view below a first part. */
function bringDown(box, part, first) {
  const lowest = part.offsetTop + part.offsetHeight - box.clientHeight;
  const highest = part.offsetTop - first.offsetTop;
  box.scrollTop = Math.min(Math.max(box.scrollTop, lowest), highest);
}

/** What each step asked with. */
const queriesOf = (trace) => trace.queries ?? trace.decoder_states;

/** Whether the scores are dot products of queries and keys, as far as rounded numbers can tell. */
function isDotProduct(trace) {
  const keys = trace.encoder_states;
  return queriesOf(trace).every((query, step) => trace.scores[step].every((score, i) => {
    if (score === null) return true;
    if (query.length !== keys[i].length) return false;
    const products = query.map((entry, d) => entry * keys[i][d]);
    const total = products.reduce((sum, product) => sum + product, 0);
    const size = products.reduce((sum, product) => sum + Math.abs(product), 0);
    return Math.abs(total - score) <= 0.02 * (1 + size);
  }));
}

const sourceWord = (word) => h("span", { class: "attn-word" }, word);

/** Query, keys, scores, weights, weighted values: one column for each source word. */
function attentionFlow(trace, scale, isGold) {
  const { source_tokens: words, encoder_states: states } = trace;
  const highest = largestMagnitude(
    trace.scores.map((row) => row.map((score) => score ?? 0)));

  const query = h("div", { class: "attn-gutter attn-query-cell" });
  const operator = isDotProduct(trace) ? "·" : "↔";
  const columns = words.map((word, i) => ({
    word: sourceWord(word),
    key: h("div", { class: "attn-cell" }, vector(states[i], scale)),
    score: h("span", { class: "attn-score-number" }),
    bar: h("i", { class: "attn-score-bar" }),
    weight: h("span", { class: "attn-weight" }),
    value: h("div", { class: "attn-cell" }),
    ribbon: svg("path", { class: "attn-ribbon", fill: "none" }),
  }));
  const row = (name, label, cells) =>
    h("div", { class: `attn-row attn-row-${name}` },
      label instanceof Element ? label : h("div", { class: "attn-gutter" }, label), ...cells);

  const ribbons = svg("svg", { class: "attn-ribbons", height: RIBBON.height },
    ...columns.map((column) => column.ribbon));
  const picture = h("div", { class: "attn-grid", role: "img", style: `--words:${words.length}` },
    row("words", "source", columns.map((column) => column.word)),
    caption(1, "The ", role("query", "query"), " meets every ", role("key", "key")),
    row("keys", query, columns.map((column) => column.key)),
    caption(2, "Scores: how well each key fits"),
    row("scores", "score", columns.map((column) =>
      h("div", { class: "attn-score" }, h("div", { class: "attn-axis" }, column.bar), column.score))),
    caption(3, "Softmax: scores become weights that sum to 1"),
    row("weights", "weight", columns.map((column) => column.weight)),
    caption(4, "Each ", role("value", "value"), " times its weight, all added up"),
    row("values", h("div", { class: "attn-gutter" }, "weight × value"),
      columns.map((column) => column.value)),
    ribbons);
  const box = scroller("Source words; scrolls sideways", "attn-flow", picture);

  const drawRibbons = () => bendRibbons(box, picture, ribbons, query.firstChild,
    columns.map(({ ribbon, value }) => [ribbon, value]));

  let drawn = 0;
  const showHeaviest = () =>
    bringAcross(box.element, query, columns[heaviest(trace.weights[drawn])]?.weight);

  box.element.addEventListener("scroll", drawRibbons);
  return {
    element: box.element,
    draw(step) {
      drawn = step;
      query.replaceChildren(
        vector(queriesOf(trace)[step], scale), h("span", { class: "attn-operator" }, operator));
      columns.forEach((column, i) => {
        const score = trace.scores[step][i];
        const weight = trace.weights[step][i];
        const masked = score === null;
        column.word.classList.toggle("attn-masked", masked);
        column.score.textContent = two(score);
        column.bar.className = `attn-score-bar attn-${score < 0 ? "below" : "above"}`;
        column.bar.style.height = `${masked ? 0 : (Math.abs(score) / highest) * 50}%`;
        column.weight.textContent = two(weight);
        column.weight.classList.toggle("attn-gold", isGold(i, step));
        paint(column.weight, shade("weight", weight));
        column.value.replaceChildren(vector(states[i].map((entry) => entry * weight), scale));
        column.value.style.setProperty("--attn-share", `${Math.round(20 + 80 * weight)}%`);
        column.ribbon.style.strokeWidth = `${weight * RIBBON.thickest}px`;
      });
      picture.setAttribute("aria-label",
        `Step ${step + 1}, drawn: query, keys, scores, weights and weighted values of `
        + `${words.length} source words. The table below holds the numbers.`);
    },
    bringIntoView: showHeaviest,
    fit() {
      box.fit();
      drawRibbons();
    },
    destroy() {
      box.element.removeEventListener("scroll", drawRibbons);
    },
  };
}

/** Ribbons from the words to where they are added up, below the first column. */
function bendRibbons(box, picture, ribbons, end, pairs) {
  const target = box.element.scrollLeft + end.getBoundingClientRect().width / 2;
  const starts = pairs.map(([, cell]) => cell.offsetLeft + cell.offsetWidth / 2);
  const { height } = RIBBON;
  ribbons.setAttribute("width", picture.offsetWidth);
  pairs.forEach(([ribbon], i) => {
    ribbon.setAttribute("d",
      `M${starts[i]} 0C${starts[i]} ${height * 0.72} ${target} ${height * 0.3} ${target} ${height}`);
  });
}

/** Scroll a box sideways until a cell is in view beside the gutter. */
function bringAcross(box, gutter, cell) {
  if (!cell) return;
  const visible = cell.offsetLeft >= box.scrollLeft + gutter.offsetWidth
    && cell.offsetLeft + cell.offsetWidth <= box.scrollLeft + box.clientWidth;
  if (!visible) {
    box.scrollLeft = cell.offsetLeft - gutter.offsetWidth - (box.clientWidth - gutter.offsetWidth) / 2;
  }
}

/** One of several heads: the words that are asked, and how much each of them counts. */
function headFlow(trace, isGold) {
  const { source_tokens: words, quantity = "weight" } = trace;
  const columns = words.map((word) => ({
    word: sourceWord(word),
    weight: h("span", { class: "attn-weight" }),
    ribbon: svg("path", { class: "attn-ribbon", fill: "none" }),
  }));
  const gutter = h("div", { class: "attn-gutter" }, h("span", {}, quantity));
  const ribbons = svg("svg", { class: "attn-ribbons", height: RIBBON.height },
    ...columns.map((column) => column.ribbon));
  const picture = h("div", { class: "attn-grid", role: "img", style: `--words:${words.length}` },
    h("div", { class: "attn-row attn-row-words" },
      h("div", { class: "attn-gutter" }, "asked"), ...columns.map(({ word }) => word)),
    h("div", { class: "attn-row attn-row-weights" }, gutter, ...columns.map(({ weight }) => weight)),
    ribbons);
  const box = scroller("Words that are asked; scrolls sideways", "attn-flow", picture);
  const drawRibbons = () => bendRibbons(box, picture, ribbons, gutter.firstChild,
    columns.map(({ ribbon, weight }) => [ribbon, weight]));
  let drawn = 0;
  box.element.addEventListener("scroll", drawRibbons);
  return {
    element: box.element,
    draw(step) {
      drawn = step;
      columns.forEach((column, i) => {
        const weight = trace.weights[step][i];
        column.weight.textContent = two(weight);
        column.weight.classList.toggle("attn-gold", isGold(i, step));
        paint(column.weight, shade("weight", weight));
        column.ribbon.style.strokeWidth = `${weight * RIBBON.thickest}px`;
      });
      picture.setAttribute("aria-label",
        `Step ${step + 1}, drawn: the ${quantity}s of ${words.length} ${trace.words}. `
        + "The table below holds the numbers.");
    },
    bringIntoView: () =>
      bringAcross(box.element, gutter, columns[heaviest(trace.weights[drawn])]?.weight),
    fit() {
      box.fit();
      drawRibbons();
    },
    destroy() {
      box.element.removeEventListener("scroll", drawRibbons);
    },
  };
}

/** Who asks; and the words that the model, all layers and heads together, makes probable. */
function headPanel(trace) {
  const asks = h("div", { class: "attn-gutter attn-asking" });
  const { bars, drawBars } = candidateBars(trace);
  const line = trace.log_probs
    ? caption(1, trace.layers > 1 ? "All layers together choose the next word" : "The step writes a word")
    : caption(1, "The word that asks is read in the light of all of them");
  return {
    element: h("div", { class: "attn-result" },
      asks, h("div", { class: "attn-candidates" }, line, bars)),
    draw(step) {
      asks.replaceChildren(h("span", { class: "attn-word" }, trace.target_tokens[step]));
      drawBars(step);
    },
  };
}

/** The most probable next words as bars; nothing where nothing is written. */
function candidateBars(trace) {
  const rows = Array.from({ length: trace.candidates ? CANDIDATES : 0 }, () => ({
    row: h("div", { class: "attn-candidate" }),
    word: h("span", { class: "attn-candidate-word" }),
    bar: h("i", {}),
    number: h("span", { class: "attn-candidate-number" }),
  }));
  rows.forEach(({ row, word, bar, number }) =>
    row.append(word, h("span", { class: "attn-track" }, bar), number));
  const bars = h("div", {
    role: "img", "aria-label": "The most probable next words; the table below holds the numbers.",
    hidden: !rows.length,
  }, ...rows.map(({ row }) => row));
  return {
    bars,
    drawBars(step) {
      rows.forEach(({ row, word, bar, number }, i) => {
        const [token, probability] = trace.candidates[step][i] ?? ["", null];
        row.classList.toggle("attn-chosen", token === trace.target_tokens[step]);
        word.textContent = token;
        bar.style.width = `${(probability ?? 0) * 100}%`;
        number.textContent = probability === null ? "" : two(probability);
      });
    },
  };
}

/** A decoder without attention: the source words were read once, and no step looks back. */
function fixedFlow(trace, scale) {
  const { source_tokens: words, encoder_states: states } = trace;
  const picture = h("div", {
    class: "attn-grid", role: "img", style: `--words:${words.length}`,
    "aria-label": `${words.length} source words with their encoder states; no step looks at them.`,
  },
  h("div", { class: "attn-row attn-row-words" },
    h("div", { class: "attn-gutter" }, "source"), ...words.map(sourceWord)),
  h("div", { class: "attn-row attn-row-keys attn-unused" },
    h("div", { class: "attn-gutter" }, "encoder states"),
    ...states.map((values) => h("div", { class: "attn-cell" }, vector(values, scale)))));
  const box = scroller("Source words; scrolls sideways", "attn-flow", picture);
  const note = h("p", { class: "attn-note" },
    "No query, no weights: one fixed vector of the whole sentence was handed over, "
    + "and no step can look at the words again.");
  return { element: h("div", {}, box.element, note), draw() {}, fit: box.fit };
}

/** Context and decoder state, and the words that they make probable. */
function resultPanel(trace, scale) {
  const context = h("div", {
    class: `attn-gutter ${trace.contexts ? "attn-context-cell" : "attn-query-cell"}`,
  });
  const { bars, drawBars } = candidateBars(trace);
  let line;
  if (!trace.weights) {
    line = caption(1, "The ", role("query", "decoder state"), " chooses the next word");
  } else if (trace.queries) {
    line = caption(5, "The sum, the ", role("context", "context"),
      ", and the last word make a new state, the next ", role("query", "query"),
      "; together they choose the next word");
  } else {
    line = caption(5, "The sum, the ", role("context", "context"),
      ", and the query choose the next word");
  }
  const element = h("div", { class: "attn-result" },
    context, h("div", { class: "attn-candidates" }, line, bars));
  return {
    element,
    draw(step) {
      context.replaceChildren(vector((trace.contexts ?? trace.decoder_states)[step], scale));
      drawBars(step);
    },
  };
}

/** The rows of the weight matrix that exist so far; the current one is outlined. */
function weightMatrix(trace, isGold) {
  const { source_tokens: sources, target_tokens: targets, quantity = "weight" } = trace;
  const rows = targets.map((target, t) => {
    const cells = trace.weights[t].map((weight, i) => {
      const cell = h("span", { class: `attn-matrix-cell${isGold(i, t) ? " attn-gold" : ""}` },
        h("span", {}, two(weight)));
      paint(cell, shade("weight", weight));
      return cell;
    });
    return h("div", { class: "attn-matrix-row" },
      h("span", { class: "attn-gutter attn-matrix-target" }, target), ...cells);
  });
  const heads = sources.map((word) => h("span", { class: "attn-matrix-source" }, h("span", {}, word)));
  const grid = h("div", { class: "attn-matrix", role: "img", style: `--words:${sources.length}` },
    h("div", { class: "attn-matrix-row attn-matrix-head" },
      h("span", { class: "attn-gutter" }), ...heads),
    ...rows);
  const box = scroller(`${capitalized(quantity)}s so far; scrolls`, "attn-matrix-scroll", grid);
  let current = rows[0];
  return {
    element: h("div", { class: "attn-matrix-block" },
      h("p", { class: "attn-caption" },
        h("span", {}, capitalized(trace.log_probs ? `${quantity}s so far` : `${quantity}s`))),
      box.element),
    draw(step) {
      rows.forEach((row, t) => {
        row.classList.toggle("attn-current", t === step);
        row.classList.toggle("attn-future", Boolean(trace.log_probs) && t > step);
      });
      grid.setAttribute("aria-label",
        `Heat map of the ${quantity}s of steps 1 to ${step + 1}. The tables hold the numbers.`);
      current = rows[step];
    },
    bringIntoView: () => bringDown(box.element, current, rows[0]),
    fit() {
      const gutter = heads[0].previousSibling.offsetWidth;
      // The last column's line takes one more.
      const room = Math.floor((box.element.clientWidth - gutter - 1) / sources.length);
      grid.style.setProperty("--cell", `${Math.min(MATRIX.widest, Math.max(MATRIX.narrowest, room))}px`);
      grid.classList.toggle("attn-roomy", room >= MATRIX.numbers);
      grid.classList.remove("attn-upright");
      const tooLong = heads.some((head) => head.firstChild.offsetWidth > head.clientWidth);
      grid.classList.toggle("attn-upright", tooLong);
      box.fit();
    },
  };
}

function legend(trace, scale, hasGold) {
  const swatches = (pairs) => pairs.map((pair) => {
    const swatch = h("i", {});
    paint(swatch, pair);
    return swatch;
  });
  const steps = [0, 0.25, 0.5, 0.75, 1];
  const items = [];
  if (trace.weights) {
    items.push(h("span", {}, `${trace.quantity ?? "weight"} 0`, h("span", { class: "attn-swatches" },
      ...swatches(steps.map((x) => shade("weight", x)))), "1"));
  }
  if (scale !== null) items.push(h("span", {}, `entry ${two(-scale)}`, h("span", { class: "attn-swatches" },
    ...swatches([-1, -0.5, 0, 0.5, 1].map((x) => signed(x, 1)))), two(scale)));
  if (hasGold) {
    items.push(h("span", {}, h("i", { class: "attn-gold attn-sample" }), "gold link"));
  }
  return h("p", { class: "attn-legend", "aria-hidden": "true" }, ...items);
}

/** The same step as tables, for a screen reader and for everybody who wants the numbers. */
function stepTables(trace, isGold, id) {
  const rowOf = (first, ...cells) =>
    h("tr", {}, h("th", { scope: "row" }, first), ...cells.map((cell) => h("td", {}, cell)));
  const makeTable = (name, title, ...names) => {
    const body = h("tbody", {});
    const heading = h("caption", { id: `${id}-${name}` }, title);
    return { body, table: h("table", { class: `attn-table attn-table-${name}` }, heading, tableHead(...names), body) };
  };

  const words = trace.candidates
    ? makeTable("next", "Next words", "word", "probability", "written")
    : null;
  const asked = trace.words ?? "source words";
  const sources = trace.weights
    ? makeTable("source", capitalized(asked), trace.words ? "word" : "source word",
      ...(trace.scores ? ["score"] : []), trace.quantity ?? "weight", ...(trace.gold_links ? ["gold link"] : []))
    : null;
  return {
    element: h("div", { class: "attn-tables" }, ...[sources, words].filter(Boolean).map(({ table }) => table)),
    draw(step) {
      const target = trace.target_tokens[step];
      words?.body.replaceChildren(...trace.candidates[step].slice(0, CANDIDATES)
        .map(([token, probability]) =>
          rowOf(token, two(probability), token === target ? "yes" : "")));
      sources?.body.replaceChildren(...trace.source_tokens.map((word, i) => {
        const score = trace.scores?.[step][i];
        return rowOf(word,
          ...(trace.scores ? [score === null ? "−∞ (masked)" : two(score)] : []),
          two(trace.weights[step][i]),
          ...(trace.gold_links ? [isGold(i, step) ? "yes" : ""] : []));
      }));
    },
  };
}

// ---------------------------------------------------------------------------------- hosts

/** The figure in its place in a page. */
export function embed(figure, { trace, without, step }, { fallback }) {
  const host = h("div");
  figure.append(host);
  mount(host, { trace, without, step, label: figure.dataset.label });
  fallback.hidden = true;
}

/** The figure as an anywidget: step and switch travel both ways between page and Python. */
function render({ model, el }) {
  const figure = mount(el, {
    trace: model.get("trace"),
    without: model.get("without"),
    step: model.get("step"),
    attentionOn: model.get("attention_on"),
    kind: model.get("kind"),
    layer: model.get("layer"),
    head: model.get("head"),
    message: model.get("message"),
    onChange({ step, attentionOn, kind, layer, head }) {
      for (const [name, value] of Object.entries({ step, attention_on: attentionOn, kind, layer, head })) {
        model.set(name, value);
      }
      model.save_changes();
    },
  });
  const names = {
    trace: "trace", without: "without", step: "step", kind: "kind", layer: "layer", head: "head",
    attention_on: "attentionOn", message: "message",
  };
  const handlers = Object.entries(names).map(([trait, option]) => {
    const handler = () => figure.update({ [option]: model.get(trait) });
    model.on(`change:${trait}`, handler);
    return [trait, handler];
  });
  return () => {
    handlers.forEach(([trait, handler]) => model.off(`change:${trait}`, handler));
    figure.destroy();
  };
}

export default { render };
