/**
 * What a comparison says: the correlation, a plot, and a table that begins where the two models part most.
 */

import { byDisagreement, numNotable, spearman } from "./agreement.js";
import { el } from "./dom.js";
import { button } from "./form.js";
import { count, many, number, percent, shortened } from "./format.js";
import { readable } from "./ranklist.js";
import { scatter } from "./scatter.js";

const HEAD = ["Pair", "Cosine", "Score", "Ranks apart"];

const WINDOW = 50;

/**
 * The parts of a result.
 *
 * @param {{results: Object[], model: string, biEncoder: string, scale: string}} comparison
 * @returns {{words: string, compared: Object[], nodes: HTMLElement[]}} `words` is what is read out.
 */
export function comparedView({ results, model, biEncoder, scale }) {
  const compared = byDisagreement(results);
  const notable = numNotable(compared);
  const rho = spearman(results.map((one) => one.cosine), results.map((one) => one.score));
  const words = told(compared, notable, rho);
  const points = compared.map((one, at) => ({ x: one.cosine, y: one.score, name: nameOf(one, scale), mark: at < notable ? String(at + 1) : null }));
  const plot = scatter({
    id: "compare-plot",
    points,
    xLabel: "cosine, \u22121 to 1",
    yLabel: scale === "logit" ? "score, logit" : "score, 0 to 1",
    label: `Cosine and score of ${many(compared.length, "pair")}; the table below has the same numbers`,
  });
  return { words, compared, nodes: [facts({ compared, notable, rho, model, biEncoder }), plot, key(notable), table({ compared, notable, scale })] };
}

function told(compared, notable, rho) {
  const agreement = rho === null ? "Spearman\u2019s correlation is not defined for these" : `Spearman\u2019s correlation is ${number(rho, 2)}`;
  const [most] = compared;
  const apart = notable
    ? `most apart: \u201c${shortened(most.textB.slice(0, 400), 60)}\u201d, rank ${most.cosineRank} by cosine and ${most.scoreRank} by score`
    : "both put them in nearly the same order";
  return `${many(compared.length, "pair")} compared. ${agreement}; ${apart}.`;
}

function facts({ compared, notable, rho, model, biEncoder }) {
  const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  return el(
    "dl",
    { class: "facts" },
    fact("Pairs", count(compared.length)),
    fact("Spearman\u2019s correlation", rho === null ? "not defined" : number(rho, 3)),
    fact("Far apart", count(notable)),
    fact("Cosine by", biEncoder),
    fact("Score by", model),
  );
}

function key(notable) {
  const words = notable
    ? `A diamond with a number is one of the ${count(notable)} pairs on which the two disagree most; the table begins with them.`
    : "No pair is far apart.";
  return el("p", { class: "hint" }, words, " To the right the bi-encoder finds the texts alike; at the top the cross-encoder finds that they belong together.");
}

function nameOf(one, scale) {
  return `${shortened(one.textA.slice(0, 400), 80)} | ${shortened(one.textB.slice(0, 400), 80)}: cosine ${number(one.cosine, 3)}, rank ${one.cosineRank}; score ${number(one.score, scale === "unit" ? 3 : 2)}, rank ${one.scoreRank}`;
}

function table({ compared, notable, scale }) {
  const body = el("tbody", { role: "rowgroup" });
  const more = button("Show more", { id: "compare-more" });
  let shown = 0;
  const add = () => {
    const first = shown;
    shown = Math.min(compared.length, shown + WINDOW);
    body.append(...compared.slice(first, shown).map((one, at) => row(one, first + at < notable ? first + at + 1 : null, scale)));
    more.hidden = shown === compared.length;
    return body.children[first];
  };
  more.addEventListener("click", () => {
    const next = add();
    next.setAttribute("tabindex", "-1");
    next.focus();
  });
  add();
  const whole = el(
    "table",
    { id: "compare-table", class: "stacks", role: "table" },
    el("caption", {}, "The pairs on which the two disagree most come first."),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, HEAD.map((name, at) => el("th", { role: "columnheader", scope: "col", class: at ? "number" : null }, name)))),
    body,
  );
  return el("div", { class: "stack" }, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Pairs with both scores" }, whole), el("div", {}, more));
}

function row(one, mark, scale) {
  const cell = (at, ...lines) =>
    el("td", { role: "cell", class: "number", "data-label": HEAD[at] }, lines.map((line, place) => el("div", { class: place ? "hint" : null }, line)));
  return el(
    "tr",
    { role: "row", class: mark ? "notable" : null },
    el(
      "th",
      { role: "rowheader", scope: "row" },
      mark ? el("span", { class: "diamond number" }, `\u25c6 ${mark}`) : null,
      el("div", { class: "compare-a" }, readable(one.textA)),
      el("div", { class: "compare-b" }, readable(one.textB)),
      one.truncated || one.cosineTruncated ? el("span", { class: "tag warm" }, cutWords(one)) : null,
    ),
    cell(1, number(one.cosine, 3), `rank ${one.cosineRank}`),
    cell(2, number(one.score, scale === "unit" ? 3 : 2), `rank ${one.scoreRank}`, percent(one.probability)),
    cell(3, one.apart),
  );
}

function cutWords({ truncated, cosineTruncated }) {
  const by = [truncated ? "cross-encoder" : null, cosineTruncated ? "bi-encoder" : null].filter(Boolean).join(" and the ");
  return `cut: the ${by} read only a part`;
}
