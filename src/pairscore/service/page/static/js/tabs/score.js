/**
 * Score: two texts, what the model says of them, and why.
 */

import { call } from "../api.js";
import { curlOf } from "../clients.js";
import { copyButton } from "../copy.js";
import { el, fill } from "../dom.js";
import { explainer } from "../explain.js";
import { button, problemBox, runs, textArea } from "../form.js";
import { number, percent } from "../format.js";
import { modelChoice } from "../modelchoice.js";
import { details } from "../scoreview.js";
import { loadStyle } from "../styles.js";

const PATH = "v1/score/details";

const EXAMPLE_A = "How do I change a flat tyre?";
const EXAMPLE_B =
  "Loosen the wheel nuts before you jack the car up. My aunt grows basil on her balcony. " +
  "Then take the flat tyre off, put the spare wheel on, and tighten the nuts crosswise. A tyre lasts about six years.";

/**
 * Build the tab.
 *
 * @param {HTMLElement} panel
 * @param {Object} app
 */
export async function mount(panel, app) {
  await loadStyle("score");
  const fields = inputs(app);
  const submit = button("Score", { kind: "submit", primary: true, id: "score-submit" });
  const problem = problemBox();
  const result = el("section", { id: "score-result", class: "stack", "aria-labelledby": "score-result-title", hidden: true });
  const copy = copyButton("Copy as curl", () => curlOf(PATH, fields.body()), app);
  copy.id = "score-copy";
  const form = el(
    "form",
    { class: "stack", id: "score-form" },
    el("div", { class: "columns" }, fields.a.root, fields.b.root),
    el("div", { class: "row" }, fields.model.root, submit, copy),
    problem,
  );
  const stale = staleness(form, fields, result);
  runs({
    form,
    submit,
    problem,
    app,
    run: async (signal) => {
      const body = fields.body();
      const { data, ms } = await call(PATH, { body, signal });
      show({ result, body, data, ms, app, stale });
    },
  });
  fill(
    panel,
    el(
      "div",
      { class: "stack" },
      el("h2", {}, "Score"),
      el("p", { class: "lead" }, "How well two texts belong together, as the model reads them, and which parts of the second one count."),
      form,
      result,
    ),
  );
}

function inputs(app) {
  const a = textArea({
    label: "Text a",
    name: "text_a",
    id: "score-a",
    rows: 5,
    value: EXAMPLE_A,
    hint: "The query of a pair: a question, a search, or a sentence to compare with.",
  });
  const b = textArea({
    label: "Text b",
    name: "text_b",
    id: "score-b",
    rows: 5,
    value: EXAMPLE_B,
    hint: "The document of a pair. When a pair is too long, this text is cut.",
  });
  const model = modelChoice({ id: "score-model", app });
  const body = () => ({ text_a: a.input.value, text_b: b.input.value, model: model.value() });
  return { a, b, model, body };
}

/** A result stays while the texts are changed; a line says that it is of others. */
function staleness(form, fields, result) {
  const line = el("p", { class: "notice warm", id: "score-stale", role: "status", hidden: true }, "The fields were changed after this was scored.");
  let shown = null;
  form.addEventListener("input", () => {
    line.hidden = result.hidden || JSON.stringify(fields.body()) === shown;
  });
  return {
    line,
    keep: (body) => {
      shown = JSON.stringify(body);
      // While the answer was under way somebody may have gone on typing.
      line.hidden = JSON.stringify(fields.body()) === shown;
    },
  };
}

function show({ result, body, data, ms, app, stale }) {
  const heading = el("h3", { id: "score-result-title" }, "Result");
  const why = explainer({ body, data, app });
  result.hidden = false;
  fill(result, heading, stale.line, details({ body, data, ms }), why);
  stale.keep(body);
  const cut = data.truncated ? " The texts were cut." : "";
  app.say(`Score ${number(data.score, 3)}, probability ${percent(data.probability)}.${cut}`);
}
