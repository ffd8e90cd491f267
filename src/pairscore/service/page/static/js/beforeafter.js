/**
 * The order before beside the order after, with a line from each document's old place to its new one.
 */

import { el, svg } from "./dom.js";
import { shortened } from "./format.js";
import { movement } from "./ranking.js";

/** With more documents the lines become a thicket. */
export const MAX_DRAWN = 30;

/**
 * Draw a ranking. It says nothing that the list does not say in words, so screen readers are spared it.
 *
 * @param {{documents: string[], order: number[]}} ranking a whole one.
 * @returns {HTMLElement}
 */
export function beforeAfter({ documents, order }) {
  const num = documents.length;
  const ranks = new Map(order.map((at, place) => [at, place]));
  const lines = documents.map((_, at) => {
    const { way } = movement(at + 1, ranks.get(at) + 1);
    return svg("path", { class: way, d: `M0 ${at + 0.5}C50 ${at + 0.5} 50 ${ranks.get(at) + 0.5} 100 ${ranks.get(at) + 0.5}` });
  });
  return el(
    "figure",
    { class: "before-after", id: "rank-before-after" },
    el("figcaption", { class: "hint" }, "Left the order in which the documents came, right the one of the scores. What fell is drawn with a broken line."),
    el(
      "div",
      { class: "before-after-columns", "aria-hidden": "true" },
      column("Before", documents.map((_, at) => at), documents),
      el("div", { class: "before-after-lines" }, svg("svg", { viewBox: `0 0 100 ${num}`, preserveAspectRatio: "none", focusable: "false" }, lines)),
      column("After", order, documents),
    ),
  );
}

function column(title, order, documents) {
  return el(
    "div",
    { class: "before-after-column" },
    el("p", { class: "before-after-title" }, title),
    order.map((at, place) => el("p", { class: "before-after-row" }, el("span", { class: "number" }, place + 1), shortened(documents[at].slice(0, 400), 90))),
  );
}
