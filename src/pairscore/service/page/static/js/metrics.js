/**
 * Prometheus' text format, read; and what can be computed from two readings of the same counters.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/
 */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { "\\\\": "\\", '\\"': '"', "\\n": "\n" };

/** One reading of all metrics. */
export class Reading {
  /**
   * @param {string} text what `/metrics` answered.
   * @param {number} at when, in milliseconds of `performance.now()`.
   */
  constructor(text, at) {
    this.at = at;
    /** @type {Map<string, Array<{labels: Object<string, string>, value: number}>>} */
    this.samples = parsed(text);
  }

  /**
   * @param {string} name
   * @param {(labels: Object<string, string>) => boolean} fits which series count.
   * @returns {number} the sum of the series; 0 where there is none.
   */
  sum(name, fits = () => true) {
    return this.series(name, fits).reduce((sum, { value }) => sum + value, 0);
  }

  /** @returns {Array<{labels: Object<string, string>, value: number}>} the series of that name. */
  series(name, fits = () => true) {
    return (this.samples.get(name) ?? []).filter(({ labels }) => fits(labels));
  }

  /** @returns {string[]} the values that a label has there, in their order. */
  values(name, label) {
    return [...new Set(this.series(name).map(({ labels }) => labels[label]))];
  }
}

function parsed(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) {
      continue;
    }
    const [, name, labels, value] = found;
    if (!samples.has(name)) {
      samples.set(name, []);
    }
    samples.get(name).push({ labels: labelsOf(labels ?? ""), value: numberOf(value) });
  }
  return samples;
}

function labelsOf(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(LABEL)) {
    labels[name] = value.replace(/\\[\\"n]/g, (escape) => ESCAPED[escape]);
  }
  return labels;
}

function numberOf(text) {
  const infinities = { "+Inf": Infinity, Inf: Infinity, "-Inf": -Infinity };
  return infinities[text] ?? Number(text);
}

/**
 * How much a counter grew between two readings.
 *
 * @param {Reading} earlier
 * @param {Reading} later
 * @returns {number}
 */
export function growth(earlier, later, name, fits) {
  return later.sum(name, fits) - earlier.sum(name, fits);
}

/** @returns {number|null} the share of one growth in another one; null where the other one is none. */
export function shareOf(part, whole) {
  return whole > 0 ? part / whole : null;
}

/**
 * A quantile of what a histogram counted between two readings, as Prometheus' `histogram_quantile` estimates it.
 *
 * @param {Reading} earlier
 * @param {Reading} later
 * @param {string} name of the histogram.
 * @param {number} q 0 to 1.
 * @param {(labels: Object<string, string>) => boolean} fits
 * @returns {number|null} null where nothing was counted; Infinity where it lies above the last bucket.
 */
export function quantile(earlier, later, name, q, fits) {
  const buckets = grownBuckets(earlier, later, name, fits);
  const total = buckets.at(-1)?.num ?? 0;
  if (!total) {
    return null;
  }
  const rank = q * total;
  const place = buckets.findIndex(({ num }) => num >= rank);
  const { le, num } = buckets[place];
  const below = buckets[place - 1] ?? { le: 0, num: 0 };
  return le === Infinity ? Infinity : below.le + ((le - below.le) * (rank - below.num)) / (num - below.num);
}

/** The buckets with what each one and all below it gained, the lowest first. */
function grownBuckets(earlier, later, name, fits) {
  const bounds = new Map();
  for (const [reading, sign] of [[later, 1], [earlier, -1]]) {
    for (const { labels, value } of reading.series(`${name}_bucket`, fits)) {
      const le = numberOf(labels.le);
      bounds.set(le, (bounds.get(le) ?? 0) + sign * value);
    }
  }
  return [...bounds].map(([le, num]) => ({ le, num })).sort((one, other) => one.le - other.le);
}
