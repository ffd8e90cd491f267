/**
 * The facts of the default model: what it is, and how the server runs it.
 */

import { el } from "./dom.js";
import { bytes, count } from "./format.js";

/**
 * The facts as a card.
 *
 * @param {Object|null} info what `/info` says; null while the default model is not in memory.
 * @param {{name: string, state: string}} row the default model.
 * @returns {HTMLElement}
 */
export function factsOf(info, row) {
  if (!info) {
    return el(
      "p",
      { class: "notice", id: "models-default-away" },
      `The default model, ${row.name}, is not in memory (${row.state}). Its facts are told while it is loaded.`,
    );
  }
  return el(
    "section",
    { class: "card stack", "aria-labelledby": "models-facts-title" },
    el("h3", { id: "models-facts-title" }, `The default model: ${info.model}`),
    list(ofModel(info)),
    el("h4", {}, "Limits of a request"),
    list(limits(info.limits)),
    el("h4", {}, "Versions"),
    list(Object.entries(info.versions)),
  );
}

const list = (rows) => el("dl", { class: "facts small" }, rows.map(([name, value, kind = null]) => el("div", { class: kind }, el("dt", {}, name), el("dd", {}, value))));

function ofModel(info) {
  return [
    ["Weights, sha256", el("code", {}, info.sha256 ?? "unknown"), "whole"],
    ["Revision", info.revision ?? "none given"],
    ["Scale", info.scale === "unit" ? "unit: 0 to 1" : "logit: unbounded"],
    ["Calibration", info.calibration ?? "none: plain sigmoid"],
    ["Max tokens of a pair", count(info.max_input_length)],
    ["Backend", info.backend],
    ["Workers", count(info.num_workers)],
    ["Budget", `${count(info.budget)} padded tokens`],
    ["Score cache", info.cache ? "on" : "off"],
  ];
}

function limits(of) {
  return [
    ["Pairs", count(of.max_pairs)],
    ["Pairs of a batch", count(of.max_batch_pairs)],
    ["Characters of a text", count(of.max_chars)],
    ["Bytes of a body", bytes(of.max_body_bytes)],
    ["Padded tokens in the queue", count(of.max_queue_tokens)],
    ["Time", of.timeout_s ? `${of.timeout_s} s` : "no limit"],
  ];
}
