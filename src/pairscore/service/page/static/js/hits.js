/**
 * The hits of a search: text, score with its scale, the rank before and after, and what found them.
 */

import { el, setVar } from "./dom.js";
import { number, percent } from "./format.js";
import { moved, readable } from "./ranklist.js";

const DIGITS = { logit: 2, unit: 3, cosine: 3, bm25: 2, rrf: 4 };
const SOURCES = { dense: ["by vectors", "cosine"], bm25: ["by words", "bm25"] };

/**
 * @param {Array<Object>} results of `/v1/search`, best first.
 * @returns {HTMLElement}
 */
export function hits(results) {
  return el("ol", { class: "hits", id: "search-results", role: "list" }, results.map((hit, place) => hitOf(hit, place + 1)));
}

function hitOf(hit, rank) {
  return el(
    "li",
    { class: "hit card" },
    el("span", { class: "hit-place number" }, rank),
    el(
      "div",
      { class: "hit-body" },
      el("p", {}, hit.title ? el("strong", {}, hit.title) : null, hit.title ? " " : null, el("span", { class: "hint number" }, hit.id)),
      readable(hit.text ?? ""),
      el("p", { class: "hit-move" }, moved(hit.rank_before, rank)),
      found(hit.sources ?? {}),
      metadata(hit.metadata ?? {}),
      hit.truncated ? el("span", { class: "tag warm" }, "cut: only its beginning was read") : null,
      hit.reranked ? null : el("span", { class: "tag" }, "not read by the cross-encoder"),
    ),
    scored(hit),
  );
}

function scored(hit) {
  const known = hit.probability !== undefined && hit.probability !== null;
  const bar = known ? el("span", { class: "bar", "aria-hidden": "true" }, el("span")) : null;
  if (bar) {
    setVar(bar, "--share", hit.probability);
  }
  return el(
    "div",
    { class: "hit-score" },
    el("p", {}, el("strong", { class: "number" }, number(hit.score, DIGITS[hit.scale] ?? 3)), " ", el("span", { class: "hint" }, hit.scale)),
    bar,
    known ? el("p", { class: "hint" }, el("span", { class: "unseen" }, "probability "), percent(hit.probability)) : null,
  );
}

function found(sources) {
  const words = Object.entries(sources).map(([key, { rank, score }]) => {
    const [how, scale] = SOURCES[key] ?? [`by ${key}`, key];
    return `${how}: rank ${rank}, ${scale} ${number(score, DIGITS[scale] ?? 3)}`;
  });
  return words.length ? el("p", { class: "hint" }, `Found ${words.join("; ")}.`) : null;
}

function metadata(values) {
  const entries = Object.entries(values).filter(([, value]) => value !== null);
  return entries.length ? el("p", { class: "hint" }, entries.map(([key, value]) => `${key}: ${value}`).join(", ")) : null;
}
