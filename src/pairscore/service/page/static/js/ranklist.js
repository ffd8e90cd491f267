/**
 * A ranking as a list that stays sorted while scores come in; only a window of it is in the page.
 */

import { el, fill, setVar, svg } from "./dom.js";
import { button } from "./form.js";
import { count, many, number, percent, shortened } from "./format.js";
import { movement } from "./ranking.js";

const WINDOW = 100;
// Between two drawings while scores come in, so that the page has time for the person.
const REST_MS = 150;
const MAX_SHORT = 280;
const ARROWS = { up: "M8 2 14 9H10V14H6V9H2Z", down: "M8 14 2 7H6V2H10V7H14Z", same: "M2 6H14V10H2Z" };

/** The list of one ranking, in an element that stays. */
export class RankList {
  /** @param {{id: string}} options the list's id; its "show more" is `ID-more`. */
  constructor({ id }) {
    this.list = el("ol", { class: "hits", id, role: "list" });
    this.shown = el("p", { class: "hint", id: `${id}-shown` });
    this.more = button("Show more", { id: `${id}-more`, on: () => this.showMore() });
    this.root = el("div", { class: "stack" }, this.list, el("div", { class: "row" }, this.shown, this.more));
    Object.assign(this, { least: 0, timer: 0, asked: 0, drawn: 0 });
    this.begin(null);
  }

  /** Start over with another ranking. */
  begin(ranking) {
    this.ranking = ranking;
    this.most = WINDOW;
    this.rows = new Map();
    fill(this.list);
    this.update();
  }

  /** Show only what has at least this probability. */
  showFrom(least) {
    this.least = least;
    this.update();
  }

  /** Show a hundred more, and lead the keyboard to the first of them. */
  showMore() {
    const first = this.most;
    this.most += WINDOW;
    this.draw();
    const row = this.list.children[first];
    row?.setAttribute("tabindex", "-1");
    row?.focus();
  }

  /** Draw soon, at a frame; several calls in between are one drawing. */
  update() {
    this.timer ||= setTimeout(() => {
      this.asked = requestAnimationFrame(() => this.draw());
    }, Math.max(0, this.drawn + REST_MS - performance.now()));
  }

  /** Draw now. */
  draw() {
    clearTimeout(this.timer);
    cancelAnimationFrame(this.asked);
    this.timer = 0;
    const places = this.passing();
    places.slice(0, this.most).forEach((at, place) => this.put(at, place));
    const num = Math.min(places.length, this.most);
    while (this.list.children.length > num) {
      this.list.lastElementChild.remove();
    }
    this.more.hidden = places.length <= num;
    this.tell(num, places.length);
    this.drawn = performance.now();
  }

  /** Places of the documents that pass the threshold, best first. */
  passing() {
    const { ranking, least } = this;
    if (!ranking) {
      return [];
    }
    return least > 0 ? ranking.order.filter((at) => ranking.probabilities[at] >= least) : ranking.order;
  }

  /** The row of a document at its place. What stands there already is not touched, so that it keeps the focus. */
  put(at, place) {
    const row = this.rows.get(at) ?? this.made(at);
    const there = this.list.children[place];
    if (there !== row.root) {
      this.list.insertBefore(row.root, there ?? null);
    }
    const rank = this.least > 0 ? this.ranking.order.indexOf(at) + 1 : place + 1;
    if (row.rank !== rank) {
      row.rank = rank;
      fill(row.place, rank);
      fill(row.move, moved(at + 1, rank));
    }
  }

  made(at) {
    const { ranking } = this;
    const place = el("span", { class: "hit-place number" });
    const move = el("p", { class: "hit-move" });
    const root = el(
      "li",
      { class: "hit card" },
      place,
      el("div", { class: "hit-body" }, readable(ranking.documents[at]), ranking.truncated[at] ? cutTag(ranking.cut.has(at)) : null, move),
      scoreOf(ranking, at),
    );
    const row = { root, place, move, rank: 0 };
    this.rows.set(at, row);
    return row;
  }

  tell(num, passing) {
    const { ranking, least } = this;
    if (!ranking) {
      fill(this.shown);
      return;
    }
    const above = least > 0 ? ` with a probability of at least ${percent(least, 0)}` : "";
    const none = passing === 0 && ranking.numScored > 0 ? " Lower the threshold to see more." : "";
    fill(this.shown, `${count(num)} of ${many(ranking.numScored, "scored document")} shown${passing < ranking.numScored ? above : ""}.${none}`);
  }
}

/** @returns {Array<Node|string>} an arrow and words. */
export function moved(before, after) {
  const { way, words } = movement(before, after);
  return [svg("svg", { class: `arrow ${way}`, viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, svg("path", { d: ARROWS[way] })), words];
}

/** @returns {HTMLElement} a text; a long one can be opened. */
export function readable(text) {
  const short = shortened(text.slice(0, 4 * MAX_SHORT), MAX_SHORT);
  if (text.length <= MAX_SHORT) {
    return el("p", { class: "hit-text" }, text || "(empty)");
  }
  const whole = el("p", { class: "hit-text" });
  return el(
    "details",
    { on: { toggle: (event) => fill(whole, event.target.open ? text : "") } },
    el("summary", {}, short),
    whole,
  );
}

function cutTag(byPage) {
  return el("span", { class: "tag warm" }, byPage ? "cut: only its beginning was sent" : "cut: only its beginning was read");
}

function scoreOf(ranking, at) {
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span"));
  setVar(bar, "--share", ranking.probabilities[at]);
  return el(
    "div",
    { class: "hit-score" },
    el("p", {}, el("span", { class: "unseen" }, "score "), el("strong", { class: "number" }, number(ranking.scores[at], ranking.scale === "unit" ? 3 : 2))),
    bar,
    el("p", { class: "hint" }, el("span", { class: "unseen" }, "probability "), percent(ranking.probabilities[at])),
  );
}
