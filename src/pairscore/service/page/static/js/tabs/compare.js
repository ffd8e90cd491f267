/**
 * Compare: the same pairs by the cosine of two vectors and by a cross-encoder, and where the two disagree.
 */

import { ApiError, call } from "../api.js";
import { ANY_CLIENT, clientBox } from "../clients.js";
import { comparedView } from "../comparedview.js";
import { el, fill } from "../dom.js";
import { csvOf, download } from "../download.js";
import { button, choice, problemBox, runs, textField } from "../form.js";
import { count, many } from "../format.js";
import { modelChoice } from "../modelchoice.js";
import { Progress } from "../progress.js";
import { inSlices } from "../slices.js";
import { readOr, source } from "../source.js";
import { loadStyle } from "../styles.js";
import { cutTo, documentsOf, pairsOf } from "../texts.js";

const PATH = "v1/compare";
const CAREFUL = { max_pairs: 100, max_body_bytes: 2 ** 20, max_chars: 100_000 };
const COLUMNS = ["place", "text_a", "text_b", "cosine", "cosine_rank", "score", "score_rank", "probability", "ranks_apart"];

// Pairs of columns as the command line knows them.
const KNOWN_A = ["query", "question", "question1", "text_a", "text1", "sentence1", "sentence_1", "sentence_a", "premise", "anchor", "a"];
const KNOWN_B = ["document", "passage", "text", "doc", "answer", "context", "question2", "text_b", "text2", "sentence2", "sentence_2", "sentence_b", "hypothesis", "positive", "b"];
const KNOWN_DOCUMENTS = ["text", "document", "doc", "passage", "content", "contents", "body", "abstract", "sentence", "answer"];

const PAIRS = [
  "How many people live in Berlin? | Berlin has a population of 3,520,031 registered inhabitants.",
  "How many people live in Berlin? | How many people live in Munich?",
  "How many people live in Berlin? | Around 3.5 million, more than in any other city of Germany.",
  "how do I boil an egg for five minutes | How do I boil an egg for ten minutes?",
  "Who taught Aristotle? | Aristotle taught Alexander the Great.",
  "Who taught Aristotle? | At seventeen Aristotle joined the Academy of Plato, his teacher for twenty years.",
  "how to stop a tap from dripping | My tap is dripping and I do not know how to stop it.",
  "how to stop a tap from dripping | A dripping tap mostly needs a new washer: turn the water off and unscrew the valve.",
  "what is the capital of Australia | Sydney is not the capital of Australia.",
  "what is the capital of Australia | Canberra has been the seat of government since 1927.",
  "can you freeze cooked rice | Can you freeze raw eggs?",
  "can you freeze cooked rice | Cooked rice keeps for a month in the freezer.",
];
const QUERY = "How many people live in Berlin?";
const DOCUMENTS = PAIRS.slice(0, 3).map((line) => line.split(" | ")[1]);

/**
 * Build the tab.
 *
 * @param {HTMLElement} panel
 * @param {Object} app
 */
export async function mount(panel, app) {
  await Promise.all([loadStyle("rank"), loadStyle("compare")]);
  const fields = inputs(app);
  const view = results(app);
  const submit = button("Compare", { kind: "submit", primary: true, id: "compare-submit" });
  const problem = problemBox();
  const absent = el("p", { class: "notice warm", id: "compare-absent", hidden: true }, ABSENT);
  const form = el("form", { class: "stack", id: "compare-form" }, fields.root, el("div", { class: "row" }, fields.model.root, submit), problem);
  const code = clientBox({ id: "compare-code", clients: ANY_CLIENT, app, requestOf: () => request(fields, app) });
  form.addEventListener("input", code.refresh);
  runs({ form, submit, problem, app, run: (signal) => compare({ fields, view, problem, app, signal, absent }) });
  app.onInfo((info) => {
    absent.hidden = info.bi_encoder !== null;
    submit.disabled = info.bi_encoder === null;
  });
  fill(
    panel,
    el(
      "div",
      { class: "stack" },
      el("h2", {}, "Compare"),
      el(
        "p",
        { class: "lead" },
        "A bi-encoder makes a vector of each text and compares those; a cross-encoder reads both texts at once. See on which pairs they disagree.",
      ),
      absent,
      form,
      code.root,
      view.root,
    ),
  );
}

const ABSENT =
  "This server has no bi-encoder to compare with: its operator turned it off. Start it without --compare-encoder none, or with the name of a bi-encoder: pairscore serve --compare-encoder all-minilm-l6.";

function inputs(app) {
  const kind = choice({ label: "What to compare", name: "kind", id: "compare-kind", options: [["pairs", "pairs of texts"], ["query", "a query and its documents"]] });
  const pairs = pairSource(app);
  const query = textField({ label: "Query", name: "query", id: "compare-query", value: QUERY });
  const documents = documentSource(app);
  const show = () => {
    const one = kind.input.value === "query";
    pairs.root.hidden = one;
    query.root.hidden = !one;
    documents.root.hidden = !one;
  };
  kind.input.addEventListener("change", show);
  show();
  const items = () =>
    kind.input.value === "query" ? documents.items().items.map(([text]) => [query.input.value, text]) : pairs.items().items;
  const root = el("div", { class: "stack" }, el("div", { class: "row" }, kind.root), pairs.root, query.root, documents.root);
  return { root, items, model: modelChoice({ id: "compare-model", app }) };
}

function pairSource(app) {
  return source({
    id: "compare-pairs",
    label: "Pairs",
    hint: "One pair a line, its texts with a tab or a | between them; or drop a csv, tsv or jsonl file with two columns here.",
    value: PAIRS.join("\n"),
    one: "pair",
    roles: [
      { key: "a", label: "Column of the first text", known: KNOWN_A },
      { key: "b", label: "Column of the second text", known: KNOWN_B },
    ],
    app,
    split: (text) => {
      const { pairs, without } = pairsOf(text);
      const left = without.length ? ` Left out, for want of two texts with a tab or a | between: ${without.length === 1 ? "line" : "lines"} ${listed(without)}.` : "";
      return { items: pairs, told: `${many(pairs.length, "pair")}.${left}` };
    },
  });
}

function documentSource(app) {
  return source({
    id: "compare-documents",
    label: "Documents",
    hint: "One a line, or drop a csv, tsv, jsonl or txt file here.",
    value: DOCUMENTS.join("\n"),
    rows: 5,
    one: "document",
    roles: [{ key: "column", label: "Column of the documents", known: KNOWN_DOCUMENTS }],
    app,
    split: (text) => {
      const { documents } = documentsOf(text, "auto");
      return { items: documents.map((one) => [one]), told: `${many(documents.length, "document")}.` };
    },
  });
}

function listed(lines) {
  return lines.length > 5 ? `${lines.slice(0, 5).join(", ")} and ${many(lines.length - 5, "other")}` : lines.join(", ");
}

/** The pairs as the server takes them, and how many texts were cut for it. */
function asked(fields, limits) {
  let numCut = 0;
  const cut = (text) => {
    const kept = cutTo(text, limits.max_chars);
    numCut += kept.length < text.length ? 1 : 0;
    return kept;
  };
  const pairs = fields.items().map(([a, b]) => ({ text_a: cut(a), text_b: cut(b) }));
  return { pairs, numCut };
}

function request(fields, app) {
  const limits = app.info?.limits ?? CAREFUL;
  let pairs = [];
  let note = "";
  try {
    ({ pairs } = asked(fields, limits));
  } catch (error) {
    note = error.message;
  }
  if (pairs.length > limits.max_pairs) {
    note = `One request holds at most ${count(limits.max_pairs)} pairs here (--max-pairs): this is the one of the first ${count(limits.max_pairs)}. The page sends several.`;
    pairs = pairs.slice(0, limits.max_pairs);
  }
  return { path: PATH, body: { pairs, model: fields.model.value() }, note };
}

async function compare({ fields, view, problem, app, signal, absent }) {
  const limits = app.info?.limits ?? CAREFUL;
  const what = started({ fields, limits, problem });
  if (!what) {
    return;
  }
  const { pairs, numCut } = what;
  const model = fields.model.value();
  const comparison = { results: [], model: "", biEncoder: "", scale: "" };
  view.begin(pairs.length);
  app.say(`Comparing ${many(pairs.length, "pair")}.`);
  try {
    await inSlices({
      sizes: pairs.map(({ text_a: a, text_b: b }) => a.length + b.length),
      limits,
      signal,
      send: async (from, to, abort) => {
        const { data } = await call(PATH, { body: { pairs: pairs.slice(from, to), model }, signal: abort });
        take(comparison, data, { pairs, from });
        view.at(comparison.results.length);
      },
      onWait: (seconds) => view.wait(seconds),
    });
  } catch (error) {
    if (!(error instanceof ApiError && error.type === "CompareNotServedError")) {
      throw error;
    }
    absent.hidden = false;
    app.say(ABSENT);
  } finally {
    view.end(comparison, { total: pairs.length, numCut, limits });
  }
}

function take(comparison, data, { pairs, from }) {
  Object.assign(comparison, { model: data.model, biEncoder: data.bi_encoder, scale: data.scale });
  for (const { index, cosine, cosine_truncated: cosineTruncated, score, probability, truncated } of data.results) {
    const { text_a: textA, text_b: textB } = pairs[from + index];
    comparison.results.push({ place: from + index, textA, textB, cosine, score, probability, truncated, cosineTruncated: cosineTruncated ?? false });
  }
}

function started({ fields, limits, problem }) {
  const read = () => {
    const what = asked(fields, limits);
    return what.pairs.length ? what : null;
  };
  return readOr({ problem, read, nothing: "There is nothing to compare. Paste some texts, or choose a file." });
}

function results(app) {
  const progress = new Progress({ id: "compare-progress", many: "pairs" });
  const body = el("div", { class: "stack" });
  const root = el(
    "section",
    { class: "stack", id: "compare-result", "aria-labelledby": "compare-result-title", hidden: true },
    el("h3", { id: "compare-result-title" }, "Comparison"),
    progress.root,
    body,
  );
  const begin = (total) => {
    root.hidden = false;
    fill(body);
    progress.begin(total);
  };
  const end = (comparison, facts) => {
    progress.end();
    if (!comparison.results.length) {
      root.hidden = true;
      return;
    }
    comparison.results.sort((a, b) => a.place - b.place);
    const { words, compared, nodes } = comparedView(comparison);
    const summary = [partly(comparison, facts), words].filter(Boolean).join(" ");
    fill(body, el("p", { id: "compare-summary" }, summary), nodes, el("div", {}, downloads(compared)));
    app.say(summary);
  };
  return { root, begin, end, at: (done) => progress.at(done), wait: (seconds) => progress.wait(seconds) };
}

function partly({ results: done }, { total, numCut, limits }) {
  const stopped = done.length < total ? `Of ${many(total, "pair")} only ${count(done.length)} could be compared.` : "";
  const cut = numCut ? `${many(numCut, "text")} with more than ${count(limits.max_chars)} characters (--max-chars): only the beginning was sent.` : "";
  return `${stopped} ${cut}`.trim();
}

function downloads(compared) {
  const rows = () =>
    compared.map((one) => ({
      place: one.place + 1,
      text_a: one.textA,
      text_b: one.textB,
      cosine: one.cosine,
      cosine_rank: one.cosineRank,
      score: one.score,
      score_rank: one.scoreRank,
      probability: one.probability,
      ranks_apart: one.apart,
    }));
  return button("Download csv", { id: "compare-csv", on: () => download("comparison.csv", csvOf(COLUMNS, rows()), "text/csv") });
}
