/**
 * The time of a search by its stages: a bar of parts, and the same as numbers.
 */

import { el, setVar } from "./dom.js";
import { duration } from "./format.js";

const STAGES = [
  ["encode", "Encode", "the query\u2019s vector"],
  ["dense", "Dense", "looking up vectors"],
  ["words", "Words", "looking up words"],
  ["fuse", "Fuse", "joining both"],
  ["rerank", "Rerank", "the cross-encoder, its queue included"],
];

/**
 * @param {{encode?: number, dense?: number, words?: number, fuse?: number, rerank?: number, total: number}} timings milliseconds; what was not done is missing, null or 0.
 * @returns {HTMLElement}
 */
export function stages(timings) {
  const done = STAGES.filter(([key]) => timings[key] > 0);
  const both = timings.dense > 0 && timings.words > 0;
  return el(
    "section",
    { class: "stack stages", id: "search-stages", "aria-labelledby": "search-stages-title" },
    el("h3", { id: "search-stages-title" }, "Time"),
    el("div", { class: "stages-bar", "aria-hidden": "true" }, done.map(([key], place) => part(key, place + 1, timings[key]))),
    el(
      "dl",
      { class: "facts" },
      done.map(([key, name, words], place) =>
        el("div", {}, el("dt", {}, el("span", { class: `stage-mark ${key}`, "aria-hidden": "true" }, place + 1), name, ", ", words), el("dd", {}, duration(timings[key]))),
      ),
      el("div", {}, el("dt", {}, "Total, from the body to the answer"), el("dd", {}, duration(timings.total))),
    ),
    both ? el("p", { class: "hint" }, "Vectors and words are looked up at the same time, so the parts may be more than the whole.") : null,
  );
}

function part(key, mark, ms) {
  const made = el("span", { class: `stage ${key}` }, mark);
  setVar(made, "--ms", ms);
  return made;
}
