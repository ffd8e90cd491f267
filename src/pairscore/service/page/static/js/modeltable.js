/**
 * The table of the models, with the buttons that load and unload them.
 */

import { el } from "./dom.js";
import { bytes, count } from "./format.js";
import { stacked } from "./stacked.js";

const LOOKS = { loaded: "good", loading: "warm", failed: "bad", unloaded: "" };

const BUSY = { load: "loading", unload: "unloading", reload: "reloading" };

const ACTIONS = [
  ["load", "Load", (row) => row.state === "unloaded" || row.state === "failed"],
  ["unload", "Unload", (row) => row.state === "loaded"],
  ["reload", "Reload", (row) => row.state === "loaded"],
];

/**
 * All models.
 *
 * @param {{rows: Array<Object>, busy: Map<string, string>, act: ((verb: string, row: Object) => void)|null}} options
 *   `busy` says what is under way for which model; without `act` there are no buttons.
 * @returns {HTMLElement}
 */
export function modelTable({ rows, busy, act }) {
  const heads = [
    { words: "Model" },
    { words: "State" },
    { words: "Memory", number: true },
    { words: "Scale" },
    { words: "Max tokens", number: true },
    { words: "Backend" },
    { words: "Last used" },
    ...(act ? [{ words: "Actions" }] : []),
  ];
  const table = stacked({
    id: "models-table",
    caption: "The default model first; a model that is unloaded is loaded by the first request that names it.",
    heads,
    rows: rows.map((row, place) => line(row, { place, doing: busy.get(row.name), act })),
  });
  return el("div", { class: "card" }, table);
}

function line(row, { place, doing, act }) {
  const state = el("span", { class: `tag ${doing ? "warm" : LOOKS[row.state]}` }, doing ? BUSY[doing] : row.state);
  const cells = [
    [state, row.error ? el("p", { class: "hint" }, row.error) : null],
    row.memoryBytes ? bytes(row.memoryBytes) : "–",
    row.scale ?? "–",
    row.maxLength ? count(row.maxLength) : "–",
    row.backend,
    lastUsed(row.lastUsed),
  ];
  return {
    attributes: { id: `models-row-${place}`, "aria-busy": doing ? "true" : null },
    head: [el("span", { class: "model-name" }, row.name), notes(row)],
    cells: act ? [...cells, buttons(row, { place, doing, act })] : cells,
  };
}

function notes(row) {
  const words = [];
  if (row.isDefault) {
    words.push("default");
  }
  if (row.pinned) {
    words.push("pinned: never freed for another");
  }
  if (row.aliases.length) {
    words.push(`also ${row.aliases.join(", ")}`);
  }
  return words.length ? el("p", { class: "hint" }, words.join("; ")) : null;
}

function buttons(row, { place, doing, act }) {
  const offered = ACTIONS.filter(([, , fits]) => fits(row));
  const made = offered.map(([verb, words]) =>
    el(
      "button",
      {
        type: "button",
        class: "quiet",
        id: `models-${verb}-${place}`,
        "aria-label": `${words} ${row.name}`,
        disabled: Boolean(doing),
        on: { click: () => act(verb, row) },
      },
      words,
    ),
  );
  return el("div", { class: "model-actions" }, made.length ? made : el("span", { class: "hint" }, "being loaded"));
}

function lastUsed(seconds) {
  if (!seconds) {
    return "never";
  }
  const then = new Date(seconds * 1000);
  return el("time", { datetime: then.toISOString(), title: then.toLocaleString() }, ago(Date.now() / 1000 - seconds));
}

/** 3 min ago; the clocks of server and browser may differ, so that a negative time is now. */
function ago(seconds) {
  if (seconds < 60) {
    return "within a minute";
  }
  if (seconds < 3600) {
    return `${Math.floor(seconds / 60)} min ago`;
  }
  if (seconds < 86_400) {
    return `${Math.floor(seconds / 3600)} h ago`;
  }
  return `${Math.floor(seconds / 86_400)} d ago`;
}
