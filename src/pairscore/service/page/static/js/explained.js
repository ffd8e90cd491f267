/**
 * A document with each sentence and word marked by what it contributes; every mark can be reached with the keyboard.
 *
 * One of the marks can be focused at a time (a list box with a roving tab index): the arrows move between them,
 * and the number of the chosen one stands in the line below.
 */

import { strengthOf } from "./contributions.js";
import { el, fill, setVar } from "./dom.js";
import { shortened, signed } from "./format.js";
import { byPoints } from "./points.js";

/**
 * The text with its marks.
 *
 * @param {string} text the document that was explained.
 * @param {{sentences: Array, words: Array}} told the answer of `v1/explain`; offsets in code points.
 * @returns {HTMLElement}
 */
export function highlighted(text, told) {
  const options = [];
  const view = { points: byPoints(text), strength: strengthOf(told), options };
  const box = el(
    "div",
    { class: "explained", id: "score-text", role: "listbox", "aria-label": "Text b, by contribution", "aria-orientation": "horizontal", dir: "auto" },
    told.sentences.length ? bySentence(view, told) : between(view, told.words, 0, view.points.length),
  );
  const readout = el("p", { class: "readout", id: "score-readout" }, "Move over the text, or into it with the Tab and arrow keys, to read the numbers.");
  rove(box, options, readout);
  return el("div", { class: "stack" }, box, readout);
}

/** Sentences with what lies between them; words that stand in no sentence are kept where they are. */
function bySentence(view, { sentences, words }) {
  const parts = [];
  let at = 0;
  sentences.forEach((sentence, place) => {
    const inside = words.filter((word) => word.start >= sentence.start && word.end <= sentence.end);
    parts.push(view.points.slice(at, sentence.start), sentenceMark(view, sentence, { place, inside, plain: !words.length }));
    at = sentence.end;
  });
  parts.push(view.points.slice(at));
  return parts;
}

function sentenceMark(view, sentence, { place, inside, plain }) {
  const name = `Sentence ${place + 1}`;
  const badge = option(view, sentence, { name, words: sentence.contribution === null ? "–" : signed(sentence.contribution, 1), kind: "badge" });
  const group = el("span", { class: "sentence", role: "group", "aria-label": name }, badge, between(view, inside, sentence.start, sentence.end));
  if (plain) {
    marked(view, group, sentence);
  }
  group.classList.toggle("unread", sentence.contribution === null);
  return group;
}

/** The words from one place to another, with what lies between them. */
function between(view, words, start, end) {
  const parts = [];
  let at = start;
  for (const word of words) {
    parts.push(view.points.slice(at, word.start));
    parts.push(option(view, word, { name: word.text, words: word.text, kind: "word" }));
    at = word.end;
  }
  parts.push(view.points.slice(at, end));
  return parts;
}

function option(view, unit, { name, words, kind }) {
  const told = unit.contribution === null ? "not read" : signed(unit.contribution);
  const element = el("span", { class: kind, role: "option", "aria-selected": "false", "aria-label": `${name}: ${told}`, tabindex: "-1" }, words);
  marked(view, element, unit);
  view.options.push({ element, unit, name, isSentence: kind === "badge" });
  return element;
}

/** Colour and underline; what hardly counts carries neither. */
function marked(view, element, unit) {
  const strength = view.strength(unit);
  if (unit.contribution === null) {
    element.classList.add("unread");
  } else if (strength >= 0.05) {
    element.classList.add(unit.contribution > 0 ? "plus" : "minus");
    setVar(element, "--strength", strength.toFixed(3));
  }
}

/** Make one of the options the one that Tab reaches, and have keys, pointer and focus choose. */
function rove(box, options, readout) {
  let chosen = 0;
  const choose = (place) => {
    options[chosen].element.tabIndex = -1;
    options[chosen].element.setAttribute("aria-selected", "false");
    chosen = place;
    options[chosen].element.tabIndex = 0;
    options[chosen].element.setAttribute("aria-selected", "true");
    fill(readout, inWords(options[chosen]));
  };
  if (!options.length) {
    return;
  }
  options[0].element.tabIndex = 0;
  options.forEach(({ element }, place) => {
    element.addEventListener("focus", () => choose(place));
    element.addEventListener("pointerenter", () => fill(readout, inWords(options[place])));
  });
  box.addEventListener("pointerleave", () => box.contains(document.activeElement) && choose(chosen));
  box.addEventListener("keydown", (event) => {
    const next = target(event.key, chosen, options);
    if (next !== null) {
      event.preventDefault();
      options[next].element.focus();
    }
  });
}

function target(key, place, options) {
  const last = options.length - 1;
  const moves = {
    ArrowRight: () => Math.min(place + 1, last),
    ArrowLeft: () => Math.max(place - 1, 0),
    ArrowDown: () => nextSentence(options, place, 1),
    ArrowUp: () => nextSentence(options, place, -1),
    Home: () => 0,
    End: () => last,
  };
  return Object.hasOwn(moves, key) ? moves[key]() : null;
}

function nextSentence(options, place, step) {
  for (let at = place + step; at >= 0 && at < options.length; at += step) {
    if (options[at].isSentence) {
      return at;
    }
  }
  return place;
}

function inWords({ unit, name, isSentence }) {
  const what = isSentence ? `${name}, \u201c${shortened(unit.text, 80)}\u201d` : `\u201c${shortened(name, 80)}\u201d`;
  if (unit.contribution === null) {
    return [what, ": not read or not measured."];
  }
  const means = unit.contribution > 0 ? "with it the logit is higher" : unit.contribution < 0 ? "with it the logit is lower" : "it changes nothing";
  return [what, ": ", el("strong", { class: "number" }, signed(unit.contribution)), ` (${means})`];
}
