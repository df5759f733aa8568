// Questions that answer at once: choose, give a number, put in order.
//
// Stem, answers and what is said to each of them stand in the page, where formulas are set; this
// moves them into a card and never copies them. Answers are native radio buttons, a text field, and
// buttons that move a step.

import { card, freshId, h } from "./shared.js";

/** The number that somebody wrote, with comma or point and any kind of minus; or NaN. */
function numberIn(text) {
  const plain = text.replace(/\s/g, "").replace(/[−–]/g, "-").replace(",", ".");
  return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : NaN;
}

/** Whether there is nothing but formulas, which have no text that could name a button. */
const onlyMath = (element) => [...element.childNodes].every((node) =>
  (node instanceof Element ? node.matches(".math") : !node.textContent.trim()));

/** Radio buttons, one for each answer. */
function choice({ right, names }, { id, answers, say, clear }) {
  const radios = answers.map((answer, i) => h("input", { type: "radio", name: `${id}-answer`,
    value: i, ...(onlyMath(answer) ? { "aria-label": names[i] } : {}) }));
  radios.forEach((radio) => radio.addEventListener("change", clear));
  const element = h("fieldset", { "aria-labelledby": `${id}-stem` },
    h("legend", { class: "attn-card-unseen" }, "Answers"),
    ...radios.map((radio, i) => h("label", {}, radio, h("span", {}, ...answers[i].childNodes))));
  return {
    element,
    check() {
      const chosen = radios.findIndex((radio) => radio.checked);
      if (chosen < 0) say(null, "Choose an answer first.");
      else if (chosen === right) say(true, "Right.", chosen);
      else say(false, "Not right. Try another one.", chosen);
    },
  };
}

/** A field for a number. */
function number({ right, values, within }, { id, say, clear }) {
  const field = h("input", { type: "text", inputmode: "decimal", autocomplete: "off",
    id: `${id}-number`, "aria-describedby": `${id}-stem` });
  field.addEventListener("input", clear);
  const element = h("p", { class: "attn-question-number" },
    h("label", { for: `${id}-number` }, "Your number"), field);
  // A hair more than the tolerance, because 0.1 + 0.2 is not 0.3.
  const meant = (value, place) =>
    values[place] !== null && Math.abs(value - values[place]) <= within + 1e-9;
  return {
    element,
    check() {
      const value = numberIn(field.value);
      if (Number.isNaN(value)) {
        say(null, "Write a number, with comma or point: 0.5, −2 or 1,25.");
      } else if (meant(value, right)) {
        say(true, "Right.", right);
      } else {
        const known = values.findIndex((_, place) => place !== right && meant(value, place));
        say(false, "Not right. Try again.", known < 0 ? values.indexOf(null) : known);
      }
    },
  };
}

/** A list whose steps are moved up and down by buttons. */
function order({ order: first, names }, { id, answers, reasons, say, clear, feedback }) {
  const steps = answers.map((answer, i) => {
    const text = h("span", { class: "attn-question-step" }, ...answer.childNodes);
    const [up, down] = [["up", "↑", -1], ["down", "↓", 1]].map(([name, sign, by]) => {
      const button = h("button", { type: "button",
        "aria-label": `Move ${name}: ${names[first[i]]}` }, sign);
      button.addEventListener("click", () => move(i, by, button));
      return button;
    });
    const line = h("div", {}, text, h("span", { class: "attn-question-moves" }, up, down));
    return { up, down, element: h("li", {}, line) };
  });
  // The answers come as the page shows them; what is right is known by the place in `first`.
  const shown = first.map((_, i) => i);
  const list = h("ol", {}, ...steps.map(({ element }) => element));
  const element = h("div", { role: "group", "aria-labelledby": `${id}-stem` }, list);

  function draw() {
    shown.forEach((step, place) => {
      list.append(steps[step].element);
      steps[step].up.disabled = place === 0;
      steps[step].down.disabled = place === shown.length - 1;
    });
  }
  function move(step, by, button) {
    const place = shown.indexOf(step);
    [shown[place], shown[place + by]] = [shown[place + by], shown[place]];
    feedback.append(...reasons);
    clear();
    draw();
    // The button keeps the focus, or hands it to its neighbour at the end of the list.
    const { up, down } = steps[step];
    (button.disabled ? (button === up ? down : up) : button).focus();
    say(null, `Place ${place + by + 1} of ${shown.length}: ${names[first[step]]}`, null, true);
  }
  draw();
  return {
    element,
    check() {
      const wrong = shown.findIndex((step, place) => first[step] !== place);
      if (wrong < 0) {
        say(true, "Right. Below each step is why it comes there.");
        shown.forEach((step, place) => {
          reasons[place].hidden = false;
          steps[step].element.append(reasons[place]);
        });
      } else {
        const start = ["Another step comes first", "The first step is right, then comes another one"];
        say(false, `Not yet. ${start[wrong]
          ?? `The first ${wrong} steps are right, then comes another one`}.`, wrong);
      }
    },
  };
}

const KINDS = { choice, number, order };

/** The question in its place in a page. */
export function embed(figure, data, { fallback, place, count }) {
  const id = freshId();
  const stem = fallback.querySelector(":scope > .attn-question-stem");
  stem.id = `${id}-stem`;
  const answers = [...fallback.querySelectorAll(":scope > ul > li")]
    .map((item) => item.querySelector(":scope > p") ?? item);
  const reasons = [...fallback.querySelectorAll(":scope > details > dl > dd")]
    .map((reason) => h("div", { class: "attn-question-reason", hidden: true }, ...reason.childNodes));

  const verdict = h("p", { class: "attn-question-verdict" });
  const feedback = h("div", { class: "attn-question-feedback", role: "status",
    "aria-live": "polite" }, verdict, ...reasons);

  function clear() {
    verdict.textContent = "";
    delete feedback.dataset.said;
    reasons.forEach((reason) => { reason.hidden = true; });
  }
  /** Say whether an answer is right (null: it is none yet), and why. */
  function say(right, text, reason = null, unseen = false) {
    clear();
    if (!unseen) feedback.dataset.said = right === null ? "more" : right ? "right" : "wrong";
    if (right !== null) {
      verdict.append(h("span", { "aria-hidden": "true" }, right ? "✓ " : "✗ "));
    }
    verdict.append(text);
    verdict.classList.toggle("attn-card-unseen", unseen);
    if (reason !== null) reasons[reason].hidden = false;
  }

  const part = KINDS[data.kind](data, { id, answers, reasons, say, clear, feedback });
  const form = h("form", {}, part.element,
    h("button", { type: "submit", class: "attn-question-check" }, "Check"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    part.check();
  });
  const title = count > 1 ? `Question ${place} of ${count}` : "Question";
  figure.append(card("attn-question", title,
    h("p", { class: "attn-question-title" }, `${title} · ${data.todo}`), stem, form, feedback));
  fallback.remove();
}
