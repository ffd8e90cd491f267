/**
 * Rank: a query and documents, put in order while the scores come in.
 */

import { call } from "../api.js";
import { MAX_DRAWN, beforeAfter } from "../beforeafter.js";
import { RANK_CLIENTS, clientBox } from "../clients.js";
import { el, fill } from "../dom.js";
import { download } from "../download.js";
import { button, problemBox, runs, textField } from "../form.js";
import { count, duration, many, number, percent, shortened } from "../format.js";
import { modelChoice } from "../modelchoice.js";
import { Progress } from "../progress.js";
import { RankList } from "../ranklist.js";
import { Ranking } from "../ranking.js";
import { inSlices } from "../slices.js";
import { readOr, source } from "../source.js";
import { loadStyle } from "../styles.js";
import { cutTo, documentsOf } from "../texts.js";

const PATH = "rerank";
const CAREFUL = { max_pairs: 100, max_body_bytes: 2 ** 20, max_chars: 100_000 };
const WAYS = [["auto", "line or paragraph, as it looks"], ["lines", "line"], ["blocks", "paragraph (blank lines between)"]];
// The command line's default comes first, then what files of documents commonly call it.
const KNOWN = ["text", "document", "doc", "passage", "content", "contents", "body", "abstract", "sentence", "answer", "context", "text_b"];

// With fewer documents it is over before progress could be read out.
const FEW = 200;

const QUERY = "how do I keep basil alive on a window sill";
const DOCUMENTS = [
  "Basil pesto needs two handfuls of leaves, pine nuts, garlic, cheese and good oil.",
  "A window sill should be painted every few years, or the wood starts to rot.",
  "Basil is a herb of the mint family that has been grown for thousands of years.",
  "Our cat sleeps on the window sill all day.",
  "A basil plant on the window sill lives longest when it gets six hours of sun and is watered from below.",
  "Lavender outdoors survives frost if its roots stay dry.",
  "To keep potted basil alive indoors, divide the crowded plants and give each part fresh soil and a bright window.",
  "Dried basil keeps for a year in a dark cupboard.",
  "Basil on a window sill dies of wet roots: water it only when the soil is dry, and keep it out of the draught.",
];

/**
 * Build the tab.
 *
 * @param {HTMLElement} panel
 * @param {Object} app
 */
export async function mount(panel, app) {
  await loadStyle("rank");
  const fields = inputs(app);
  const view = results(app);
  const submit = button("Rank", { kind: "submit", primary: true, id: "rank-submit" });
  const problem = problemBox();
  const form = el("form", { class: "stack", id: "rank-form" }, fields.query.root, fields.documents.root, el("div", { class: "row" }, fields.model.root, submit), problem);
  const code = clientBox({ id: "rank-code", clients: RANK_CLIENTS, app, requestOf: () => request(fields, app) });
  form.addEventListener("input", code.refresh);
  runs({ form, submit, problem, app, run: (signal) => rank({ fields, view, problem, app, signal }) });
  fill(
    panel,
    el(
      "div",
      { class: "stack" },
      el("h2", {}, "Rank"),
      el("p", { class: "lead" }, "Put documents in order by how well each answers a query, as a search does with its candidates."),
      form,
      code.root,
      view.root,
    ),
  );
}

function inputs(app) {
  const query = textField({ label: "Query", name: "query", id: "rank-query", value: QUERY });
  query.input.required = true;
  const documents = source({
    id: "rank-documents",
    label: "Documents",
    hint: "Paste them, or drop a csv, tsv, jsonl or txt file here. Their order here is the order before.",
    value: DOCUMENTS.join("\n"),
    one: "document",
    roles: [{ key: "column", label: "Column of the documents", known: KNOWN }],
    ways: WAYS,
    app,
    split: (text, way) => {
      const found = documentsOf(text, way);
      const per = found.way === "blocks" ? "one a paragraph" : "one a line";
      return { items: found.documents.map((one) => [one]), told: `${many(found.documents.length, "document")}, ${per}.` };
    },
  });
  return { query, documents, model: modelChoice({ id: "rank-model", app }) };
}

/** What is ranked now, cut to what the server takes. */
function asked(fields, limits) {
  const cut = new Set();
  const documents = fields.documents.items().items.map(([text], place) => {
    const kept = cutTo(text, limits.max_chars);
    if (kept.length < text.length) {
      cut.add(place);
    }
    return kept;
  });
  return { query: fields.query.input.value, documents, cut };
}

function body({ query, documents }, model) {
  return { query, documents, return_documents: false, model };
}

function request(fields, app) {
  const limits = app.info?.limits ?? CAREFUL;
  let { query, documents } = { query: "", documents: [] };
  let note = "";
  try {
    ({ query, documents } = asked(fields, limits));
  } catch (error) {
    note = error.message;
  }
  if (documents.length > limits.max_pairs) {
    note = `One request holds at most ${count(limits.max_pairs)} documents here (--max-pairs): this is the one of the first ${count(limits.max_pairs)}. The page sends several.`;
    documents = documents.slice(0, limits.max_pairs);
  }
  return { path: PATH, body: body({ query, documents }, fields.model.value()), model: fields.model.value() ?? app.info?.model ?? "the-model", note };
}

async function rank({ fields, view, problem, app, signal }) {
  const limits = app.info?.limits ?? CAREFUL;
  const ranking = started({ fields, limits, problem });
  if (!ranking) {
    return;
  }
  const model = fields.model.value();
  const { query, documents } = ranking;
  view.begin(ranking, limits);
  app.say(`Ranking ${many(documents.length, "document")}.`);
  try {
    await inSlices({
      sizes: documents.map((text) => text.length + query.length / 8),
      limits,
      signal,
      send: async (from, to, abort) => {
        const { data } = await call(PATH, { body: body({ query, documents: documents.slice(from, to) }, model), signal: abort });
        ranking.take(data, from);
        view.update();
      },
      onWait: (seconds) => view.wait(seconds),
    });
  } finally {
    view.end();
  }
}

/** A new ranking of what the fields hold; nothing, and words, where they hold nothing that can be ranked. */
function started({ fields, limits, problem }) {
  const read = () => {
    const what = asked(fields, limits);
    return what.documents.length ? new Ranking(what) : null;
  };
  return readOr({ problem, read, nothing: "There are no documents. Paste some, or choose a file." });
}

function results(app) {
  const list = new RankList({ id: "rank-results" });
  const progress = new Progress({ id: "rank-progress", many: "documents" });
  const summary = el("p", { id: "rank-summary" });
  const drawing = el("div");
  const { tools, threshold } = toolbar(list, () => ranking);
  const root = el(
    "section",
    { class: "stack", id: "rank-result", "aria-labelledby": "rank-result-title", hidden: true },
    el("h3", { id: "rank-result-title" }, "Ranking"),
    progress.root,
    summary,
    tools,
    list.root,
    drawing,
  );
  let ranking = null;
  let heard = 0;
  const begin = (made, limits) => {
    ranking = made;
    heard = 0;
    root.hidden = false;
    tools.hidden = true;
    fill(drawing);
    fill(summary, notes(made, limits));
    threshold.value = 0;
    threshold.dispatchEvent(new Event("input"));
    list.begin(made);
    progress.begin(made.documents.length);
  };
  const update = () => {
    list.update();
    progress.at(ranking.numScored);
    const quarter = Math.floor((4 * ranking.numScored) / ranking.documents.length);
    if (ranking.documents.length >= FEW && quarter > heard && quarter < 4) {
      heard = quarter;
      app.say(`${count(ranking.numScored)} of ${count(ranking.documents.length)} ranked.`);
    }
  };
  const end = () => {
    const ms = progress.end();
    const words = told(ranking, ms);
    list.update();
    tools.hidden = ranking.numScored === 0;
    fill(summary, words);
    fill(drawing, ranking.whole && ranking.documents.length > 1 && ranking.documents.length <= MAX_DRAWN ? beforeAfter(ranking) : null);
    app.say(words);
  };
  return { root, begin, update, end, wait: (seconds) => progress.wait(seconds) };
}

function toolbar(list, rankingOf) {
  const threshold = el("input", { type: "range", id: "rank-threshold", name: "threshold", min: 0, max: 100, step: 1, value: 0 });
  const shown = el("output", { for: "rank-threshold", class: "number" }, "all");
  threshold.addEventListener("input", () => {
    const share = Number(threshold.value);
    fill(shown, share ? `${share} %` : "all");
    threshold.setAttribute("aria-valuetext", share ? `${share} percent` : "all");
    list.showFrom(share / 100);
  });
  const tools = el(
    "div",
    { class: "row", hidden: true },
    el("div", { class: "field" }, el("label", { for: "rank-threshold" }, "Show from a probability of ", shown), threshold),
    button("Download csv", { id: "rank-csv", on: () => download("ranking.csv", rankingOf().csv(), "text/csv") }),
    button("Download JSON", { id: "rank-json", on: () => download("ranking.json", rankingOf().json(), "application/json") }),
  );
  return { tools, threshold };
}

function notes({ documents, cut }, limits) {
  const parts = [];
  if (documents.length > limits.max_pairs) {
    parts.push(`The server takes ${count(limits.max_pairs)} documents a request; the page sends several.`);
  }
  if (cut.size) {
    parts.push(`${many(cut.size, "document")} with more than ${count(limits.max_chars)} characters (--max-chars): only the beginning is sent.`);
  }
  return parts.join(" ");
}

function told(ranking, ms) {
  const { documents, order, numScored, whole, numTruncated } = ranking;
  if (numScored === 0) {
    return "Nothing was ranked.";
  }
  const done = whole ? `${many(documents.length, "document")} ranked in ${duration(ms)}` : `${count(numScored)} of ${many(documents.length, "document")} ranked`;
  const [best] = order;
  const first = `the first is \u201c${shortened(documents[best].slice(0, 400), 60)}\u201d with ${number(ranking.scores[best], ranking.scale === "unit" ? 3 : 2)} (${percent(ranking.probabilities[best])})`;
  const cut = numTruncated ? ` ${count(numTruncated)} of them ${numTruncated === 1 ? "was" : "were"} cut.` : "";
  return `${done}; ${first}. Scores of ${ranking.model} are on the scale ${ranking.scale}.${cut}`;
}
