/**
 * Why a pair has its score: the button, what it costs, and the answer of `v1/explain`.
 */

import { call } from "./api.js";
import { curlOf } from "./clients.js";
import { legend, meaning, tables } from "./contributions.js";
import { copyButton } from "./copy.js";
import { el, fill } from "./dom.js";
import { highlighted } from "./explained.js";
import { button, choice, problemBox, runs } from "./form.js";
import { count, duration, many, signed } from "./format.js";

const PATH = "v1/explain";

const UNITS = [
  ["both", "sentences and words"],
  ["sentences", "sentences"],
  ["words", "words"],
];

/**
 * The part of a result that explains it.
 *
 * @param {{body: Object, data: Object, app: Object}} scored the pair as it was scored, and what `v1/score/details` said of it.
 * @returns {HTMLElement}
 */
export function explainer({ body, data, app }) {
  const units = choice({ label: "Leave out", name: "units", id: "score-units", options: UNITS });
  const submit = button("Why this score", { kind: "submit", primary: true, id: "score-explain" });
  const asked = () => ({ ...body, units: units.input.value });
  const copy = copyButton("Copy as curl", () => curlOf(PATH, asked()), app);
  copy.id = "score-explain-copy";
  const cost = el("p", { class: "hint", id: "score-cost" });
  const problem = problemBox();
  const answer = el("div", { class: "stack", id: "score-explained" });
  const form = el("form", { class: "stack" }, el("div", { class: "row" }, units.root, submit, copy), cost, problem);
  const estimate = () => fill(cost, costBefore({ text: body.text_b, units: units.input.value, data, app }));
  units.input.addEventListener("change", estimate);
  estimate();
  runs({
    form,
    submit,
    problem,
    app,
    run: async (signal) => {
      const { data: told } = await call(PATH, { body: asked(), signal });
      fill(answer, explanation(body.text_b, told));
      app.say(spoken(told));
    },
  });
  return el("section", { class: "card stack", "aria-labelledby": "score-why-title" }, el("h3", { id: "score-why-title" }, "Why this score"), form, answer);
}

/** About how much the model has to read; the server finds sentences and words in its own way. */
function costBefore({ text, units, data, app }) {
  const num = { sentences: numSegments(text, "sentence"), words: numSegments(text, "word") };
  const parts = [];
  if (units !== "words") {
    parts.push(many(num.sentences, "sentence"));
  }
  if (units !== "sentences") {
    parts.push(many(num.words, "word"));
  }
  const max = app.info?.explain?.max_pairs ?? Infinity;
  const wanted = 1 + (units === "words" ? 0 : num.sentences) + (units === "sentences" ? 0 : num.words);
  const pairs = Math.min(wanted, max);
  const limit = wanted > max ? ` This server allows ${count(max)} pairs, so that the words of the sentences that count most are measured.` : "";
  return (
    `The model reads the pair once whole and once without each of about ${parts.join(" and ")}: ` +
    `about ${many(pairs, "pair")} of up to ${many(data.num_tokens, "token")}.${limit}`
  );
}

function numSegments(text, granularity) {
  if (typeof Intl.Segmenter !== "function") {
    return text.split(granularity === "word" ? /\s+/ : /[.!?]+/).filter((part) => part.trim()).length;
  }
  let num = 0;
  for (const part of new Intl.Segmenter(undefined, { granularity }).segment(text)) {
    num += (granularity === "word" ? part.isWordLike : part.segment.trim() !== "") ? 1 : 0;
  }
  return num;
}

function explanation(text, told) {
  if (!told.sentences.length && !told.words.length) {
    return [el("p", { class: "notice" }, "Text b holds nothing that could be left out."), costAfter(told)];
  }
  return [
    costAfter(told),
    told.limited
      ? el("p", { class: "notice warm", id: "score-limited" }, "There were more sentences and words than pairs allowed; what was not measured carries no mark.")
      : null,
    highlighted(text, told),
    legend(told),
    meaning(told),
    tables(text, told),
  ];
}

function costAfter({ cost }) {
  const batches = cost.num_micro_batches === undefined ? "" : `, ${many(cost.num_micro_batches, "micro-batch", "micro-batches")}`;
  const words = `${many(cost.num_pairs, "pair")}, ${many(cost.num_tokens, "token")}${batches}, ${duration(cost.ms)}`;
  return el("p", { id: "score-cost-after" }, "It took ", el("strong", {}, words), ".");
}

function spoken({ sentences, words }) {
  const measured = [...sentences, ...words].filter((unit) => unit.contribution !== null);
  if (!measured.length) {
    return "Nothing could be left out.";
  }
  const best = measured.reduce((one, other) => (Math.abs(other.contribution) > Math.abs(one.contribution) ? other : one));
  return `Explained. What counts most: ${best.text}, ${signed(best.contribution)}.`;
}
