/**
 * The cards, charts and tables of the Server tab. Built once; a new reading changes numbers and lines only, so that focus stays.
 */

import { lineChart } from "./chart.js";
import { el, fill } from "./dom.js";
import { bytes, count, duration, many, number, percent } from "./format.js";
import { SPAN_MS, byModel, errorsOf } from "./measures.js";
import { stacked } from "./stacked.js";

const NONE = "–";

const plain = (value) => (value < 10 && value !== Math.round(value) ? number(value, 1) : count(value));
const seconds = (value) => (value === Infinity ? "> 60 s" : duration(value * 1000));
const share = (value) => percent(value, value < 0.1 ? 1 : 0);
const or = (format) => (value) => (value === null || value === undefined ? NONE : format(value));

/** Each card: its numbers out of the measures, how they are written, and what they mean. */
const CARDS = [
  {
    id: "queue",
    title: "Tokens in the queue",
    lines: [["tokens", "queueTokens"]],
    format: plain,
    note: (at, info) => `${many(at.waitingPairs, "pair")} waiting${info ? `; room for ${count(info.limits.max_queue_tokens)} tokens` : ""}`,
    means: "Padded tokens that wait or run. It grows before latency does.",
    metrics: ["pairscore_queue_tokens", "pairscore_waiting_pairs"],
  },
  {
    id: "in-flight",
    title: "Requests in flight",
    lines: [["requests", "inFlight"]],
    format: plain,
    note: (at) => `${or(plain)(at.requestsRate)} requests a second`,
    means: "Requests that the engine has and has not answered; and requests for scores that were answered, of the last 10 s.",
    metrics: ["pairscore_requests_in_flight", "pairscore_requests_total"],
  },
  {
    id: "pairs",
    title: "Pairs a second",
    lines: [["pairs", "pairsRate"]],
    format: plain,
    means: "Pairs scored, those out of the cache too; mean of the last 10 s.",
    metrics: ["pairscore_pairs_total"],
  },
  {
    id: "tokens",
    title: "Tokens a second",
    lines: [["tokens", "tokensRate"]],
    format: plain,
    means: "Tokens that the model read, without padding and without what came out of the cache; mean of the last 10 s.",
    metrics: ["pairscore_tokens_total"],
  },
  {
    id: "latency",
    title: "Latency, p95",
    lines: [
      ["p50", "p50"],
      ["p95", "p95"],
      ["p99", "p99"],
    ],
    main: "p95",
    least: 0.01,
    format: seconds,
    note: (at) => `p50 ${or(seconds)(at.p50)}, p99 ${or(seconds)(at.p99)}`,
    means: "Time to the end of an answer, of requests for scores in the last minute. An estimate: it is read out of the histogram's buckets.",
    metrics: ["pairscore_request_seconds"],
  },
  {
    id: "padding",
    title: "Padding",
    lines: [["padding", "padding"]],
    least: 0.1,
    format: share,
    means: "Share of the tokens in micro-batches that are padding, which the model reads for nothing; of the last minute.",
    metrics: ["pairscore_tokens_total", "pairscore_padded_tokens_total"],
  },
  {
    id: "cache",
    title: "Cache hits",
    lines: [["hits", "cacheHits"]],
    format: share,
    note: (_, info) => (info && !info.cache ? "the score cache is off" : null),
    means: "Share of the pairs whose score was in the cache already; of the last minute.",
    metrics: ["pairscore_cache_hits_total", "pairscore_cache_misses_total"],
  },
  {
    id: "batch",
    title: "Pairs in a micro-batch",
    lines: [["pairs", "batchPairs"]],
    format: plain,
    note: (at, info) => `${or(plain)(at.batchTokens)} padded tokens${info ? ` of a budget of ${count(info.budget)}` : ""}`,
    means: "How full a micro-batch is on average; of the last minute.",
    metrics: ["pairscore_micro_batch_pairs", "pairscore_micro_batch_padded_tokens"],
  },
  {
    id: "errors",
    title: "Errors in the last minute",
    lines: [["errors", "errors"]],
    format: plain,
    means: "Answers with an HTTP status of 400 or more; probes and lists are left out. By kind below.",
    metrics: ["pairscore_requests_total"],
  },
];

/** What the Server tab shows of the readings. */
export class ServerView {
  constructor() {
    this.health = el("div", { class: "card stack", id: "server-health" }, el("p", { class: "hint" }, "Asking the server."));
    this.cards = CARDS.map((spec) => card(spec));
    this.models = el("div", { id: "server-models" });
    this.errors = el("div", { class: "card", id: "server-kinds" });
    this.root = el(
      "div",
      { class: "stack", id: "server-numbers" },
      this.health,
      el("div", { class: "cards" }, this.cards.map(({ root }) => root)),
      this.models,
      this.errors,
    );
  }

  /**
   * @param {{history: import("./measures.js").History, ready: Object, info: Object|null}} now
   */
  show({ history, ready, info }) {
    fill(this.health, health(ready, history));
    this.cards.forEach(({ show }) => show(history.points, info));
    fill(this.models, modelTable(byModel(history)));
    fill(this.errors, errorTable(errorsOf(history)));
  }
}

const isWide = () => window.matchMedia("(width >= 48rem)").matches;

function card({ id, title, lines, main = lines[0][1], format, note = () => null, means, metrics, least = 1 }) {
  const value = el("p", { class: "card-value", id: `server-${id}` }, NONE);
  const under = el("p", { class: "card-note" });
  const chart = lineChart({ title, lines: lines.map(([name]) => name), format, spanMs: SPAN_MS, least });
  const root = el(
    "section",
    { class: lines.length > 1 ? "card measure broad" : "card measure", "aria-labelledby": `server-${id}-title` },
    el("h3", { id: `server-${id}-title` }, title),
    value,
    under,
    chart.root,
    el("details", { open: isWide() }, el("summary", {}, "What it says"), el("p", { class: "hint" }, means, " ", metrics.map((name) => [el("code", {}, name), " "]))),
  );
  const show = (points, info) => {
    const at = points.at(-1);
    fill(value, or(format)(at[main]));
    fill(under, note(at, info));
    chart.draw(points.map((point) => ({ at: point.at, values: lines.map(([, key]) => point[key]) })));
  };
  return { root, show };
}

function health(ready, { last }) {
  const wrong = Object.entries(ready.checks).filter(([, told]) => told !== "ok");
  const born = last.sum("process_start_time_seconds");
  const facts = [
    ["Workers", `${count(last.sum("pairscore_workers"))}`],
    ["Models in memory", `${count(last.sum("pairscore_model_loaded"))} of ${count(last.series("pairscore_model_loaded").length)}`],
    ["Memory of the process", last.sum("process_resident_memory_bytes") ? bytes(last.sum("process_resident_memory_bytes")) : "not told here"],
    ["Running for", born ? duration(Math.max(0, Date.now() - born * 1000)) : "not told here"],
    ["Cache", `${many(last.sum("pairscore_cache_entries"), "score")}, ${bytes(last.sum("pairscore_cache_bytes"))}`],
  ];
  return [
    el(
      "p",
      { id: "server-ready" },
      el("span", { class: `tag ${ready.ready ? "good" : "bad"}` }, ready.ready ? "ready" : "not ready"),
      " ",
      wrong.length ? wrong.map(([name, told]) => `${name}: ${told}`).join("; ") : `All checks are ok: ${Object.keys(ready.checks).join(", ")}.`,
      " ",
      el("code", { class: "hint" }, "GET /readyz"),
    ),
    el("dl", { class: "facts server-facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
  ];
}

function modelTable(models) {
  if (models.length < 2) {
    return null;
  }
  const numeric = ["Workers", "Queue tokens", "In flight", "Pairs/s", "Tokens/s", "Padding", "Memory"];
  const table = stacked({
    caption: "Each model; the cards above are the sums.",
    heads: [{ words: "Model" }, ...numeric.map((words) => ({ words, number: true }))],
    rows: models.map((model) => ({ head: [model.model, model.loaded ? null : el("span", { class: "hint" }, " not in memory")], cells: cellsOf(model) })),
  });
  return el("div", { class: "card" }, table);
}

function cellsOf(one) {
  if (!one.loaded) {
    return Array(7).fill(NONE);
  }
  return [count(one.workers), count(one.queueTokens), count(one.inFlight), or(plain)(one.pairsRate), or(plain)(one.tokensRate), or(share)(one.padding), bytes(one.bytes)];
}

function errorTable(errors) {
  if (!errors.length) {
    return el("p", { id: "server-no-errors" }, "No errors since the server was started.");
  }
  return stacked({
    caption: "Errors by kind. One request may stand in several lines: a full queue is an outcome of the engine and an HTTP status.",
    heads: [{ words: "Kind" }, { words: "What" }, { words: "Since the start", number: true }, { words: "Last 2 min", number: true }],
    rows: errors.map(({ metric, kind, what, num, numLately }) => ({
      head: kind,
      cells: [[what, " ", el("code", { class: "hint" }, metric)], count(num), count(numLately)],
    })),
  });
}
