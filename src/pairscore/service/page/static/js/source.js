/**
 * Where texts come from: a field to paste into, or a file that is chosen or dropped, with its columns to choose from.
 */

import { FileProblem } from "./delimited.js";
import { el, fill } from "./dom.js";
import { button, choice, textArea } from "./form.js";
import { many } from "./format.js";
import { readTable, textOf } from "./tables.js";

const ACCEPT = ".csv,.tsv,.tab,.jsonl,.ndjson,.json,.txt,.md";
const CALM_MS = 200;

/**
 * A role that a column can have, such as the document; its common names are those of the command line, the usual ones first.
 *
 * @typedef {{key: string, label: string, known: string[]}} Role
 */

/**
 * A field for texts that takes files, too.
 *
 * @param {{id: string, label: string, hint: string, value: string, rows?: number, one: string, roles: Role[], app: Object,
 *   ways?: Array<[string, string]>, split: (text: string, way: string) => {items: string[][], told: string}}} options
 *   `one` is what an item is called; `split` makes items of a pasted text, of one text for each role; `ways` are its choices.
 * @returns {{root: HTMLElement, items: () => {items: string[][], told: string}}} `items` throws a FileProblem where a value is no text.
 */
export function source(options) {
  const { id, app } = options;
  const made = parts(options);
  let table = null;
  const read = () => (table?.columns.length ? fromColumns(table, made.columns, options) : options.split(table ? table.text : made.paste.input.value, made.way?.input.value ?? ""));
  const items = remembered(read, () => [table, made.paste.input.value, made.way?.input.value, ...made.columns.map(({ input }) => input.value)]);
  const count = () => {
    try {
      fill(made.told, items().told);
    } catch (error) {
      fill(made.told, error.message);
    }
  };
  const show = (chosen) => {
    table = chosen;
    made.paste.root.hidden = chosen !== null;
    made.chosen.hidden = chosen === null;
    if (made.way) {
      made.way.root.hidden = chosen !== null && chosen.columns.length > 0;
    }
    fill(made.name, chosen ? chosen.name : "");
    offerColumns(chosen, made.columns, options);
    count();
    // As if it were typed, for those who listen to the form.
    made.told.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const take = (file) => taken({ file, made, show, app, count: () => items().told });
  wire({ made, take, count, back: () => show(null) });
  const root = el(
    "div",
    { class: "source stack", id: `${id}-source` },
    made.paste.root,
    made.chosen,
    el("div", { class: "row" }, made.picker, made.way?.root, made.columns.map((column) => column.root)),
    made.problem,
    made.told,
  );
  droppable(root, take);
  show(null);
  return { root, items };
}

/**
 * What `read` makes of the sources; null, and words in `problem`, where there is nothing or a value of a file is no text.
 *
 * @param {{problem: Element, read: () => Object | null, nothing: string}} options
 */
export function readOr({ problem, read, nothing }) {
  try {
    const what = read();
    if (!what) {
      refused(problem, new FileProblem(nothing));
    }
    return what;
  } catch (error) {
    if (!(error instanceof FileProblem)) {
      throw error;
    }
    refused(problem, error);
    return null;
  }
}

/** A function whose last answer is kept for as long as what it depends on is the same. */
function remembered(make, dependsOn) {
  let last = { keys: [], value: null };
  return () => {
    const keys = dependsOn();
    if (keys.length !== last.keys.length || keys.some((key, at) => key !== last.keys[at])) {
      last = { keys, value: make() };
    }
    return last.value;
  };
}

function parts({ id, label, hint, value, rows = 8, roles, ways }) {
  const file = el("input", { type: "file", id: `${id}-file`, name: `${id}-file`, accept: ACCEPT, hidden: true, "aria-label": "File" });
  const name = el("strong");
  const back = button("Back to pasted text", { id: `${id}-back` });
  return {
    paste: textArea({ label, name: id, id, rows, value, hint }),
    file,
    picker: el("div", { class: "field" }, button("Choose a file", { id: `${id}-choose`, on: () => file.click() }), file),
    way: ways ? choice({ label: "One text per", name: `${id}-way`, id: `${id}-way`, options: ways }) : null,
    columns: roles.map((role) => choice({ label: role.label, name: `${id}-${role.key}`, id: `${id}-${role.key}`, options: [["", ""]] })),
    name,
    back,
    chosen: el("p", { class: "row card source-file" }, name, back),
    problem: el("div", { class: "problem", role: "alert", id: `${id}-problem` }),
    told: el("p", { class: "hint", id: `${id}-told` }),
  };
}

function wire({ made, take, count, back }) {
  let timer = 0;
  made.paste.input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(count, CALM_MS);
  });
  made.way?.input.addEventListener("change", count);
  for (const column of made.columns) {
    column.input.addEventListener("change", count);
  }
  made.file.addEventListener("change", () => {
    const [file] = made.file.files;
    // Emptied, so that choosing the same file again reads it again.
    made.file.value = "";
    if (file) {
      take(file);
    }
  });
  made.back.addEventListener("click", () => {
    back();
    made.paste.input.focus();
  });
}

async function taken({ file, made, show, app, count }) {
  fill(made.problem);
  fill(made.told, `Reading ${file.name}.`);
  try {
    const table = await readTable(file, { maxBytes: app.info?.limits.max_body_bytes ?? Infinity });
    show(table);
    app.say(`${file.name}: ${count()}`);
  } catch (error) {
    show(null);
    refused(made.problem, error);
  }
}

function refused(box, error) {
  const known = error instanceof FileProblem;
  fill(box, el("p", { class: "notice bad" }, known ? error.message : `The file cannot be read: ${error.message}.`));
  if (!known) {
    console.error(error);
  }
}

function droppable(root, take) {
  const over = (shown) => root.classList.toggle("over", shown);
  root.addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("Files")) {
      event.preventDefault();
      over(true);
    }
  });
  root.addEventListener("dragleave", (event) => over(root.contains(event.relatedTarget)));
  root.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    over(false);
    if (file) {
      event.preventDefault();
      take(file);
    }
  });
}

function offerColumns(table, choices, { roles }) {
  const columns = table?.columns ?? [];
  const used = new Set();
  choices.forEach((one, place) => {
    fill(one.input, columns.map((column, at) => el("option", { value: String(at) }, column || `column ${at + 1}`)));
    one.root.hidden = columns.length === 0;
    const best = usual(columns, roles[place].known, used);
    used.add(best);
    one.input.value = String(best);
  });
}

/** The place of the column that probably has the role; else the first that no other role has. */
function usual(columns, known, used) {
  const spelled = columns.map((column) => column.trim().toLowerCase());
  const places = known.map((name) => spelled.indexOf(name)).filter((place) => place >= 0 && !used.has(place));
  const free = columns.findIndex((_, place) => !used.has(place));
  return places[0] ?? Math.max(free, 0);
}

function fromColumns(table, choices, { one }) {
  const places = choices.map(({ input }) => Number(input.value));
  const items = table.rows.map(({ line, values }) =>
    places.map((place) => textOf(values[place], { line, column: table.columns[place] }).trim()),
  );
  const full = items.filter((texts) => texts.every(Boolean));
  const empty = items.length - full.length;
  const left = empty ? `; ${many(empty, "row")} without a text left out` : "";
  return { items: full, told: `${many(full.length, one)} from ${table.name}${left}.` };
}
