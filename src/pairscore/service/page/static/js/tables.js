/**
 * A file as a table: csv, tsv, JSON lines and JSON, read in short steps so that the page stays awake.
 */

import { FileProblem, delimiterOf, rowsOf } from "./delimited.js";
import { bytes, count } from "./format.js";

const STEP_MS = 12;

/**
 * A file that was read.
 *
 * @typedef {{name: string, text: string|null, columns: string[], rows: Array<{line: number, values: Array}>}} Table
 *   Of plain text `text` is what it holds and there are no columns.
 */

/**
 * Read a file that a person chose or dropped.
 *
 * @param {File} file
 * @param {{maxBytes: number}} options
 * @returns {Promise<Table>}
 * @throws {FileProblem} it is too large, no text, or broken; the message says what can be done.
 */
export async function readTable(file, { maxBytes }) {
  const { name } = file;
  if (file.size > maxBytes) {
    throw new FileProblem(
      `${name} has ${bytes(file.size)}; this page reads files of up to ${bytes(maxBytes)}. Larger ones: pairscore rank, or pairscore score --input, in a terminal.`,
    );
  }
  const text = decoded(await file.arrayBuffer(), name);
  try {
    return { name, ...(await parsed(text, ending(name))) };
  } catch (error) {
    throw error instanceof FileProblem ? new FileProblem(`${name}, ${error.message}.`) : error;
  }
}

/** @returns {string} a value as text; what is no text, number or truth is refused. */
export function textOf(value, { line, column }) {
  if (value === null || value === undefined) {
    return "";
  }
  if (typeof value === "object") {
    throw new FileProblem(`Line ${count(line)}: "${column}" holds ${Array.isArray(value) ? "a list" : "an object"}, not a text. Choose another column.`);
  }
  return String(value);
}

function ending(name) {
  return name.slice(name.lastIndexOf(".") + 1).toLowerCase();
}

async function parsed(text, kind) {
  if (["csv", "tsv", "tab"].includes(kind)) {
    return delimited(text, kind === "csv" ? delimiterOf(text) : "\t");
  }
  if (["jsonl", "ndjson"].includes(kind)) {
    return records(await collected(lines(text)));
  }
  if (kind === "json") {
    return records(array(text).map((value, place) => ({ line: place + 1, value })));
  }
  return { text, columns: [], rows: [] };
}

function decoded(buffer, name) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(buffer);
  } catch {
    throw new FileProblem(`${name} is not in UTF-8. Save it as UTF-8 text first; a spreadsheet has to be saved as csv.`);
  }
  if (text.includes("\0")) {
    throw new FileProblem(`${name} is no text. This page reads csv, tsv, jsonl and txt files.`);
  }
  return text;
}

async function delimited(text, delimiter) {
  const [head, ...rows] = await collected(rowsOf(text, delimiter));
  if (!head) {
    throw new FileProblem("line 1: the file is empty; its first line has to name the columns");
  }
  const columns = head.fields;
  const twice = columns.find((column, place) => columns.indexOf(column) !== place);
  if (twice !== undefined) {
    throw new FileProblem(`line 1: the column "${twice}" is named twice; give each column its own name`);
  }
  const wrong = rows.find((row) => row.fields.length !== columns.length);
  if (wrong) {
    throw new FileProblem(
      `line ${count(wrong.line)}: ${wrong.fields.length} fields where the first line has ${columns.length}; put quotes around a field that holds the separator`,
    );
  }
  return { text: null, columns, rows: rows.map(({ line, fields }) => ({ line, values: fields })) };
}

function* lines(text) {
  let number = 0;
  for (let at = 0; at < text.length; ) {
    const next = text.indexOf("\n", at);
    const end = next < 0 ? text.length : next;
    const written = text.slice(at, end).trim();
    number += 1;
    at = end + 1;
    if (written) {
      yield { line: number, value: json(written, number) };
    }
  }
}

function json(written, line) {
  try {
    return JSON.parse(written);
  } catch {
    throw new FileProblem(`line ${count(line)}: this is not JSON; each line has to hold one object or one text`);
  }
}

function array(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new FileProblem("which should be JSON, is not; of JSON lines the name ends in .jsonl");
  }
  if (!Array.isArray(value)) {
    throw new FileProblem("which is JSON, holds no list; a list of objects or of texts is needed");
  }
  return value;
}

/** Objects as rows, with all keys that come as columns; a bare text is the column "text". */
function records(found) {
  const places = new Map();
  const rows = found.map(({ line, value }) => {
    const values = [];
    for (const [key, one] of Object.entries(asObject(value, line))) {
      if (!places.has(key)) {
        places.set(key, places.size);
      }
      values[places.get(key)] = one;
    }
    return { line, values };
  });
  return { text: null, columns: [...places.keys()], rows };
}

function asObject(value, line) {
  if (typeof value === "string") {
    return { text: value };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new FileProblem(`line ${count(line)}: neither an object nor a text`);
  }
  return value;
}

/** All that a generator gives, with a rest for the page every few milliseconds. */
async function collected(generator) {
  const all = [];
  let until = performance.now() + STEP_MS;
  for (const one of generator) {
    all.push(one);
    if (performance.now() > until) {
      await new Promise((resolve) => setTimeout(resolve));
      until = performance.now() + STEP_MS;
    }
  }
  return all;
}
