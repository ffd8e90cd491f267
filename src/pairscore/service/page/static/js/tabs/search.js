/**
 * Search: the server's index asked, its candidates reranked, and how long each stage took.
 */

import { call } from "../api.js";
import { ANY_CLIENT, clientBox } from "../clients.js";
import { el, fill } from "../dom.js";
import { button, checkbox, choice, problemBox, runs, textField } from "../form.js";
import { count, duration, many, shortened } from "../format.js";
import { hits } from "../hits.js";
import { modelChoice } from "../modelchoice.js";
import { stages } from "../stages.js";
import { loadStyle } from "../styles.js";

const PATH = "v1/search";
const MODES = { hybrid: "by vectors and by words (hybrid)", dense: "by vectors (dense)", bm25: "by words (bm25)" };

/**
 * Build the tab.
 *
 * @param {HTMLElement} panel
 * @param {Object} app
 */
export async function mount(panel, app) {
  await Promise.all([loadStyle("rank"), loadStyle("search")]);
  const body = el("div", { class: "stack" });
  const searching = searchForm(app);
  app.onInfo((info) => {
    const wanted = info.index ? searching.root : absent();
    if (info.index) {
      searching.offer(info);
    }
    if (body.firstElementChild !== wanted) {
      fill(body, wanted);
    }
  });
  fill(
    panel,
    el(
      "div",
      { class: "stack" },
      el("h2", {}, "Search"),
      el("p", { class: "lead" }, "Find candidates in the index of this server, and let the cross-encoder read the best of them."),
      body,
    ),
  );
}

function absent() {
  return el(
    "div",
    { class: "stack", id: "search-absent" },
    el("p", { class: "notice" }, "This server has no index to search. Build one from a file of documents, and start the server with it:"),
    el("pre", { tabindex: "0", role: "region", "aria-label": "Commands" }, "pairscore index build documents.csv --index my-index\npairscore serve --index my-index"),
    el("p", { class: "hint" }, "The first command needs the extra retrieval: pip install 'pairscore[retrieval,serve]'."),
  );
}

function searchForm(app) {
  const fields = inputs(app);
  const submit = button("Search", { kind: "submit", primary: true, id: "search-submit" });
  const problem = problemBox();
  const result = el("section", { class: "stack", id: "search-result", "aria-labelledby": "search-result-title", hidden: true });
  const code = clientBox({ id: "search-code", clients: ANY_CLIENT, app, requestOf: () => ({ path: PATH, body: fields.body() }) });
  const form = el(
    "form",
    { class: "stack", id: "search-form" },
    fields.query.root,
    el("div", { class: "row search-options" }, fields.mode.root, fields.candidates.root, fields.topK.root, fields.deadline.root, fields.model.root),
    fields.rerank.root,
    el("div", { class: "row" }, submit),
    problem,
  );
  form.addEventListener("input", code.refresh);
  runs({
    form,
    submit,
    problem,
    app,
    run: async (signal) => {
      const { data } = await call(PATH, { body: fields.body(), signal });
      show({ result, data, app });
    },
  });
  const about = el("p", { class: "hint", id: "search-index" });
  return { root: el("div", { class: "stack" }, about, form, code.root, result), offer: (info) => offer(info, fields, about) };
}

function inputs(app) {
  const query = textField({ label: "Query", name: "query", id: "search-query", value: "How many people live in Berlin?" });
  query.input.required = true;
  const mode = choice({ label: "Candidates are found", name: "mode", id: "search-mode", options: [["", ""]] });
  const whole = { type: "number", min: 1 };
  const candidates = textField({ label: "Candidates to rerank", name: "num_candidates", id: "search-candidates", value: "100", ...whole });
  const topK = textField({ label: "Results", name: "top_k", id: "search-top-k", value: "10", ...whole });
  const deadline = textField({ label: "Deadline, ms", name: "deadline_ms", id: "search-deadline", ...whole });
  const rerank = checkbox({ label: "Let the cross-encoder put the candidates in order", name: "rerank", id: "search-rerank", checked: true });
  for (const { input } of [candidates, topK]) {
    input.required = true;
  }
  const model = modelChoice({ id: "search-model", app });
  const body = () => ({
    query: query.input.value,
    mode: mode.input.value,
    num_candidates: Number(candidates.input.value),
    top_k: Number(topK.input.value),
    deadline_ms: deadline.input.value ? Number(deadline.input.value) : undefined,
    rerank: rerank.input.checked,
    model: model.value(),
  });
  return { query, mode, candidates, topK, deadline, rerank, model, body };
}

/** What the index can do, as the choices of the form. */
function offer({ index, limits }, { mode, candidates, topK }, about) {
  const kept = mode.input.value;
  fill(mode.input, index.modes.map((name) => el("option", { value: name }, MODES[name] ?? name)));
  mode.input.value = index.modes.includes(kept) ? kept : index.modes[0];
  candidates.input.max = limits.max_pairs;
  topK.input.max = limits.max_pairs;
  fill(about, `The index is of the kind ${index.kind}; ${index.encoder ? `its vectors are made by ${index.encoder}` : "it is searched by words only"}.`);
}

function show({ result, data, app }) {
  const words = told(data);
  const partial = data.partial
    ? el("p", { class: "notice warm", id: "search-partial" }, `Time, or room in the queue, ran out: the cross-encoder read ${count(data.num_reranked)} of ${many(data.num_candidates, "candidate")}. The rest stands behind them as it was found.`)
    : null;
  result.hidden = false;
  fill(
    result,
    el("h3", { id: "search-result-title" }, "Results"),
    el("p", { id: "search-summary" }, words),
    partial,
    stages(data.timings),
    data.results.length ? hits(data.results) : null,
  );
  app.say(`${words}${data.partial ? " The answer is partial." : ""}`);
}

function told({ results, num_candidates: found, num_reranked: read, num_truncated: cut, timings }) {
  if (!results.length) {
    return `Nothing was found, in ${duration(timings.total)}.`;
  }
  const [first] = results;
  const name = shortened(first.title || (first.text ?? first.id).slice(0, 400), 60);
  const parts = [
    `${many(results.length, "result")} in ${duration(timings.total)}; the first is \u201c${name}\u201d.`,
    `${many(found, "candidate")} found, ${count(read)} read by the cross-encoder.`,
    cut ? `${count(cut)} of them ${cut === 1 ? "was" : "were"} cut.` : null,
  ];
  return parts.filter(Boolean).join(" ");
}
