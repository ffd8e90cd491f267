/**
 * What the Server tab shows, computed from the readings of the last minutes.
 */

import { growth, quantile, shareOf } from "./metrics.js";

/** How far back the charts reach. */
export const SPAN_MS = 120_000;

const RATE_MS = 10_000;
const MINUTE_MS = 60_000;

// What asks for no score: probes, scrapes, lists, the page itself.
const ASIDE = /^(\/|unmatched|\/page.*|\/docs.*|\/openapi\.json|.*\/?(livez|readyz|health|metrics|info|ping)|.*\/models.*)$/;

/** @returns {boolean} whether the series is of requests that ask for scores. */
export const scoring = (labels) => !ASIDE.test(labels.route ?? "");

const failed = ({ status }) => Number(status) >= 400;

/** Readings of the last minutes, and the measures that were computed at each of them. */
export class History {
  constructor() {
    this.readings = [];
    /** @type {Array<Object>} one for each reading, with `at`. */
    this.points = [];
  }

  /** @returns {import("./metrics.js").Reading|undefined} */
  get last() {
    return this.readings.at(-1);
  }

  /** Take a reading in. A server that was started anew begins at 0 again, and so does this. */
  add(reading) {
    const born = (one) => one.sum("process_start_time_seconds");
    const fewer = this.last && reading.sum("pairscore_requests_total") < this.last.sum("pairscore_requests_total");
    if (this.last && (fewer || born(this.last) !== born(reading))) {
      this.readings = [];
      this.points = [];
    }
    this.readings.push(reading);
    this.points.push(measured(this));
    const kept = (one) => one.at >= reading.at - SPAN_MS - 1000;
    this.readings = this.readings.filter(kept);
    this.points = this.points.filter(kept);
  }

  /** @returns {import("./metrics.js").Reading|null} the oldest reading of the last so many milliseconds; null if there is none but the last. */
  before(ms) {
    const found = this.readings.find((one) => one.at >= this.last.at - ms - 500);
    return found === this.last ? null : found;
  }
}

/** The measures at the last reading; null where they are not known yet, or where there was nothing to measure. */
function measured(history) {
  const { last } = history;
  const fast = history.before(RATE_MS);
  const slow = history.before(MINUTE_MS);
  return {
    at: last.at,
    queueTokens: last.sum("pairscore_queue_tokens"),
    waitingPairs: last.sum("pairscore_waiting_pairs"),
    inFlight: last.sum("pairscore_requests_in_flight"),
    ...(fast ? rates(fast, last) : NO_RATES),
    ...(slow ? ofMinute(slow, last) : NOTHING),
  };
}

const NO_RATES = { pairsRate: null, tokensRate: null, requestsRate: null };

const NOTHING = { p50: null, p95: null, p99: null, padding: null, cacheHits: null, batchPairs: null, batchTokens: null, errors: null };

function rates(earlier, later, fits) {
  const perSecond = (name, which = fits) => growth(earlier, later, name, which) / ((later.at - earlier.at) / 1000);
  return {
    pairsRate: perSecond("pairscore_pairs_total"),
    tokensRate: perSecond("pairscore_tokens_total"),
    requestsRate: perSecond("pairscore_requests_total", scoring),
  };
}

function ofMinute(earlier, later) {
  const grown = (name, fits) => growth(earlier, later, name, fits);
  const latency = (q) => quantile(earlier, later, "pairscore_request_seconds", q, scoring);
  const hits = grown("pairscore_cache_hits_total");
  return {
    p50: latency(0.5),
    p95: latency(0.95),
    p99: latency(0.99),
    padding: paddingOf(grown),
    cacheHits: shareOf(hits, hits + grown("pairscore_cache_misses_total")),
    batchPairs: shareOf(grown("pairscore_micro_batch_pairs_sum"), grown("pairscore_micro_batch_pairs_count")),
    batchTokens: shareOf(grown("pairscore_micro_batch_padded_tokens_sum"), grown("pairscore_micro_batch_padded_tokens_count")),
    errors: grown("pairscore_requests_total", (labels) => failed(labels) && (scoring(labels) || labels.route === "unmatched")),
  };
}

function paddingOf(grown, fits) {
  const real = shareOf(grown("pairscore_tokens_total", fits), grown("pairscore_padded_tokens_total", fits));
  return real === null ? null : Math.max(0, 1 - real);
}

/**
 * The same for each model.
 *
 * @param {History} history
 * @returns {Array<Object>} one for each model that the server declares.
 */
export function byModel(history) {
  const { last } = history;
  const fast = history.before(RATE_MS);
  const slow = history.before(MINUTE_MS);
  return last.values("pairscore_model_loaded", "model").map((model) => {
    const fits = (labels) => labels.model === model;
    const sum = (name) => last.sum(`pairscore_${name}`, fits);
    return {
      model,
      loaded: sum("model_loaded") > 0,
      bytes: sum("model_bytes"),
      workers: sum("workers"),
      queueTokens: sum("queue_tokens"),
      inFlight: sum("requests_in_flight"),
      pairsRate: fast && rates(fast, last, fits).pairsRate,
      tokensRate: fast && rates(fast, last, fits).tokensRate,
      padding: slow && paddingOf((name) => growth(slow, last, name, fits)),
    };
  });
}

const KINDS = [
  ["pairscore_outcomes_total", "outcome", "requests that ended so in the engine", ({ outcome }) => outcome !== "ok"],
  ["pairscore_requests_total", "status", "answers with this HTTP status", failed],
  ["pairscore_key_refusals_total", "kind", "requests refused for their API key or its quota", () => true],
  ["pairscore_replaced_workers_total", "reason", "workers given up and replaced", () => true],
  ["pairscore_model_loads_total", "outcome", "loads of a model that failed", ({ outcome }) => outcome === "failed"],
  ["pairscore_memory_splits_total", null, "micro-batches halved because memory ran out", () => true],
  ["pairscore_cache_shared_errors_total", null, "calls to the shared cache that failed", () => true],
];

/**
 * What went wrong since the server was started, by its kind.
 *
 * @param {History} history
 * @returns {Array<{metric: string, kind: string, what: string, num: number, numLately: number}>} only what happened.
 */
export function errorsOf(history) {
  const { last } = history;
  const first = history.readings[0];
  return KINDS.flatMap(([metric, label, what, fits]) =>
    (label ? [...new Set(last.series(metric, fits).map(({ labels }) => labels[label]))] : [""])
      .map((kind) => {
        const same = (labels) => fits(labels) && (!label || labels[label] === kind);
        return { metric, kind: kind || "all", what, num: last.sum(metric, same), numLately: growth(first, last, metric, same) };
      })
      .filter(({ num }) => num > 0),
  );
}
