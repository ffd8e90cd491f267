/**
 * Results as files of the person who looks at them.
 */

import { el } from "./dom.js";

// A spreadsheet takes a cell that begins so for a formula, and may run it.
const FORMULA = /^[=+\-@\t\r]/;

/**
 * Hand a text over as a file.
 *
 * @param {string} name
 * @param {string} text
 * @param {string} type such as `text/csv`.
 */
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = el("a", { href: address, download: name, class: "unseen" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/**
 * Rows as CSV. Numbers stay numbers; a text that a spreadsheet would take for a formula gets an apostrophe in front.
 *
 * @param {string[]} columns
 * @param {Array<Object<string, *>>} rows
 * @returns {string}
 */
export function csvOf(columns, rows) {
  const lines = rows.map((row) => columns.map((column) => cell(row[column])).join(","));
  return `${[columns.map(cell).join(","), ...lines].join("\r\n")}\r\n`;
}

function cell(value) {
  if (value === null || value === undefined) {
    return "";
  }
  if (typeof value !== "string") {
    return String(value);
  }
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
