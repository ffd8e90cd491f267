/**
 * Contributions in numbers: a legend, what they mean, the table of sentences and the strongest words.
 */

import { el, setVar } from "./dom.js";
import { number, shortened, signed } from "./format.js";
import { byPoints } from "./points.js";

const MAX_WORDS = 12;
const CONTEXT = 18;

/**
 * How strong a contribution is beside the strongest of its kind, 0 to 1: sentences beside sentences, words beside words.
 *
 * @param {{sentences: Array, words: Array}} told
 * @returns {(unit: {contribution: (number|null)}) => number}
 */
export function strengthOf({ sentences, words }) {
  const most = new Map();
  for (const units of [sentences, words]) {
    const max = greatest(units);
    units.forEach((unit) => most.set(unit, max));
  }
  return (unit) => (unit.contribution === null || !most.get(unit) ? 0 : Math.abs(unit.contribution) / most.get(unit));
}

const greatest = (units) => units.reduce((max, unit) => Math.max(max, Math.abs(unit.contribution ?? 0)), 0);

/** @returns {HTMLElement} what colours and lines mean: a scale from the most that is lowered to the most that is raised. */
export function legend({ sentences, words }) {
  const units = words.length ? words : sentences;
  const most = greatest(units);
  const steps = [-1, -0.5, -0.1, 0, 0.1, 0.5, 1].map((share) => swatch(share, share * most));
  return el(
    "div",
    { class: "legend", id: "score-legend" },
    el("span", {}, "lowers the logit"),
    el("span", { class: "legend-scale" }, steps),
    el("span", {}, "raises the logit"),
    el("p", { class: "hint" }, legendWords(sentences, words)),
  );
}

function swatch(share, value) {
  const kind = share < 0 ? "minus" : share > 0 ? "plus" : "";
  const sample = el("span", { class: `word ${kind}` }, share === 0 ? "0" : signed(value, Math.abs(value) < 0.95 ? 2 : 1));
  setVar(sample, "--strength", Math.abs(share));
  return sample;
}

function legendWords(sentences, words) {
  const lines = "A wavy line lowers, a straight line raises; what hardly counts has neither.";
  if (!sentences.length || !words.length) {
    return lines;
  }
  const most = number(greatest(sentences), 1);
  return `${lines} The number in a box is of the sentence that follows, with colours of its own, the deepest at \u00b1${most}.`;
}

/** @returns {HTMLElement} what a contribution is, and what it is not. */
export function meaning({ logit }) {
  return el(
    "p",
    { class: "hint", id: "score-meaning" },
    `A contribution is the logit of the whole pair (${number(logit)}) minus the logit of the pair without this sentence or word: ` +
      "what is lost when it is left out. The numbers do not add up to the logit, because the model reads all words together: " +
      "two words that say the same can each be left out at little cost, and both together at a great one.",
  );
}

/**
 * The sentences in their order, and the words that count most with what stands around them.
 *
 * @param {string} text the document that was explained.
 * @param {{sentences: Array, words: Array}} told the answer of `v1/explain`.
 * @returns {HTMLElement}
 */
export function tables(text, { sentences, words }) {
  const points = byPoints(text);
  const strongest = words
    .filter((word) => word.contribution !== null)
    .sort((one, other) => Math.abs(other.contribution) - Math.abs(one.contribution))
    .slice(0, MAX_WORDS);
  return el(
    "div",
    { class: "columns" },
    sentences.length ? table({ id: "score-sentences", caption: "Sentences, in their order", head: "Sentence", units: sentences, words: (unit, place) => `${place + 1}. ${shortened(unit.text, 160)}` }) : null,
    strongest.length ? table({ id: "score-words", caption: `The words that count most (${strongest.length} of ${words.length})`, head: "Word", units: strongest, words: (unit) => inContext(points, unit) }) : null,
  );
}

/** A word with what stands around it, because the same word may stand in many places. */
function inContext(points, { start, end, text }) {
  const before = points.slice(Math.max(0, start - CONTEXT), start);
  const after = points.slice(end, end + CONTEXT);
  const isCutBefore = start > CONTEXT;
  const isCutAfter = end + CONTEXT < points.length;
  return [
    // Half a word tells less than none.
    el("span", { class: "around" }, isCutBefore ? `\u2026 ${before.replace(/^\S*\s*/, "")}` : before),
    el("strong", {}, shortened(text, 60)),
    el("span", { class: "around" }, isCutAfter ? `${after.replace(/\s*\S*$/, "")} \u2026` : after),
  ];
}

function table({ id, caption, head, units, words }) {
  const max = greatest(units);
  const isLong = units.length > MAX_WORDS;
  return el(
    "div",
    isLong ? { class: "units-long", tabindex: "0", role: "region", "aria-label": caption } : {},
    el(
      "table",
      { class: "units", id },
      el("caption", {}, caption),
      el(
        "thead",
        {},
        el("tr", {}, el("th", { scope: "col" }, head), el("th", { scope: "col", class: "number" }, "Contribution"), el("td", { class: "bar-cell" })),
      ),
      el("tbody", {}, units.map((unit, place) => row(unit, max, words(unit, place)))),
    ),
  );
}

function row(unit, max, words) {
  const value = unit.contribution;
  const bar = el("span", { class: `signed-bar ${value < 0 ? "minus" : "plus"}`, "aria-hidden": "true" }, el("span"));
  setVar(bar, "--share", value === null || !max ? 0 : Math.abs(value) / max);
  return el(
    "tr",
    { class: value === null ? "unread" : null },
    el("th", { scope: "row", dir: "auto" }, words),
    el("td", { class: "number" }, value === null ? "not read" : signed(value)),
    el("td", { class: "bar-cell" }, bar),
  );
}
