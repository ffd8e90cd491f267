/**
 * What the model says of one pair, for people: the numbers, what they mean, and what was not read.
 */

import { el, setVar } from "./dom.js";
import { count, duration, many, number, percent } from "./format.js";
import { byPoints } from "./points.js";

/**
 * The answer of `v1/score/details` as a card.
 *
 * @param {{body: {text_a: string, text_b: string}, data: Object, ms: number}} answer what was asked, what came, and how long it took.
 * @returns {HTMLElement}
 */
export function details({ body, data, ms }) {
  return el(
    "div",
    { class: "card stack", id: "score-card" },
    el("div", { class: "score-top" }, headline(data), probability(data)),
    facts(data, ms),
    el("p", { class: "hint", id: "score-scale" }, scaleInWords(data)),
    reading(body, data),
  );
}

function headline(data) {
  return el(
    "p",
    { class: "score-headline" },
    el("span", { class: "score-label" }, "Score"),
    el("span", { class: "score-number", id: "score-number" }, number(data.score, data.scale === "unit" ? 3 : 2)),
    el("span", { class: "tag" }, `scale: ${data.scale}`),
  );
}

function probability(data) {
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span"));
  setVar(bar, "--share", data.probability);
  return el(
    "div",
    { class: "score-probability" },
    el("p", {}, "Probability ", el("strong", { id: "score-probability" }, percent(data.probability, 2))),
    bar,
    el("p", { class: "score-ends hint", "aria-hidden": "true" }, el("span", {}, "0 %"), el("span", {}, "50 %"), el("span", {}, "100 %")),
  );
}

function facts(data, ms) {
  const of = (text) => (text.num_tokens_read < text.num_tokens ? `${count(text.num_tokens_read)} of ${count(text.num_tokens)}` : count(text.num_tokens));
  const rows = [
    ["Logit", number(data.logit, 4)],
    ["Tokens of the pair", `${count(data.num_tokens)} of at most ${count(data.max_length)}`],
    ["Tokens of text a", of(data.text_a)],
    ["Tokens of text b", of(data.text_b)],
    ["Calibration", data.calibration ?? "none: plain sigmoid"],
    ["Model", data.model],
    ["Time to the answer", duration(ms)],
  ];
  return el("dl", { class: "facts", id: "score-facts" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** What the numbers mean, of this scale and this calibration. */
function scaleInWords(data) {
  const scale =
    data.scale === "unit"
      ? "The score lies between 0 and 1; the nearer to 1, the more the model takes the two texts to belong together."
      : "The score is the logit, what the model's head puts out. It has no bounds: above 0 the model takes the pair to belong together " +
        "more likely than not, below 0 less likely. Compare it with scores of the same model only.";
  const meaning = data.calibration
    ? `The probability is calibrated (${data.calibration}): of many pairs with 80 %, about 80 in 100 should belong together, on data like that which it was fitted on.`
    : "The probability is the sigmoid of the logit. It is not calibrated: it orders pairs, and 80 % need not mean that 80 pairs in 100 belong together.";
  return `${scale} ${meaning}`;
}

function reading(body, data) {
  if (!data.truncated) {
    return el("p", { class: "hint", id: "score-read" }, "Both texts were read whole; nothing was cut.");
  }
  const parts = [
    ["Text a", body.text_a, data.text_a],
    ["Text b", body.text_b, data.text_b],
  ].filter(([, , facts_]) => isCut(facts_));
  return el(
    "div",
    { class: "stack", id: "score-read" },
    el(
      "p",
      { class: "notice warm" },
      `The pair is longer than the ${count(data.max_length)} tokens that the model reads, so a part was not read. What is not read does not change the score.`,
    ),
    parts.map(([name, text, facts_]) => cutText(name, text, facts_)),
  );
}

const isCut = (text) => text.num_tokens_read < text.num_tokens;

function cutText(name, text, { read: [start, end], num_tokens: all, num_tokens_read: some }) {
  const points = byPoints(text);
  const gone = points.length - (end - start);
  return el(
    "figure",
    { class: "cut" },
    el("figcaption", {}, `${name}: ${count(some)} of ${many(all, "token")} read; ${many(gone, "character")} of ${count(points.length)} were not read and are shown greyed and struck through.`),
    el(
      "p",
      { class: "read-text", dir: "auto", tabindex: "0", role: "group", "aria-label": `${name}, with what was not read` },
      unread(points.slice(0, start)),
      points.slice(start, end),
      unread(points.slice(end)),
    ),
  );
}

function unread(text) {
  if (!text) {
    return null;
  }
  return [el("span", { class: "unseen" }, " (not read from here:) "), el("s", { class: "unread" }, text), el("span", { class: "unseen" }, " (end of what was not read) ")];
}
