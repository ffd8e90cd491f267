/**
 * Fields, buttons and the one way in which a button asks the server for something.
 */

import { ApiError } from "./api.js";
import { el, fill, newId } from "./dom.js";

/**
 * A labelled text area.
 *
 * @param {{label: string, value?: string, rows?: number, hint?: string, name: string, id?: string}} options
 * @returns {{root: HTMLElement, input: HTMLTextAreaElement}}
 */
export function textArea({ label, value = "", rows = 3, hint = "", name, id = newId(name) }) {
  const input = el("textarea", { id, name, rows, value, spellcheck: "false", "aria-describedby": hint ? `${id}-hint` : null });
  return { root: field(id, label, input, hint), input };
}

/**
 * A labelled one-line field.
 *
 * @param {{label: string, value?: string, type?: string, hint?: string, name: string, min?: number, max?: number, id?: string}} options
 * @returns {{root: HTMLElement, input: HTMLInputElement}}
 */
export function textField({ label, value = "", type = "text", hint = "", name, min, max, id = newId(name) }) {
  const described = hint ? `${id}-hint` : null;
  const input = el("input", { id, name, type, value, min, max, autocomplete: "off", "aria-describedby": described });
  return { root: field(id, label, input, hint), input };
}

/**
 * A labelled choice.
 *
 * @param {{label: string, name: string, options: Array<[string, string]>, value?: string, hint?: string, id?: string}} options values with their words.
 * @returns {{root: HTMLElement, input: HTMLSelectElement}}
 */
export function choice({ label, name, options, value, hint = "", id = newId(name) }) {
  const input = el(
    "select",
    { id, name, "aria-describedby": hint ? `${id}-hint` : null },
    options.map(([key, words]) => el("option", { value: key }, words)),
  );
  input.value = value ?? options[0][0];
  return { root: field(id, label, input, hint), input };
}

/** @returns {{root: HTMLElement, input: HTMLInputElement}} a box to tick, with its label behind it. */
export function checkbox({ label, name, checked = false, id = newId(name) }) {
  const input = el("input", { id, name, type: "checkbox", checked });
  return { root: el("div", { class: "field check" }, input, el("label", { for: id }, label)), input };
}

/** @returns {HTMLButtonElement} */
export function button(words, { kind = "button", primary = false, on = null, id = null } = {}) {
  return el("button", { type: kind, id, class: primary ? "primary" : "quiet", on: on ? { click: on } : {} }, words);
}

/**
 * Do what a form is for, once at a time: busy while it lasts, stopped by a second press, errors in the person's words.
 *
 * @param {{form: HTMLFormElement, submit: HTMLButtonElement, problem: HTMLElement, app: Object,
 *   run: (signal: AbortSignal) => Promise<void>}} options `problem` is where errors are shown (an `alert` region of `problemBox`).
 */
export function runs({ form, submit, problem, app, run }) {
  const words = submit.textContent;
  let stop = null;
  const once = async () => {
    stop = new AbortController();
    submit.textContent = "Stop";
    form.setAttribute("aria-busy", "true");
    fill(problem);
    try {
      await run(stop.signal);
    } catch (error) {
      tell(problem, error, app);
    } finally {
      stop = null;
      submit.textContent = words;
      form.removeAttribute("aria-busy");
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (stop) {
      stop.abort();
    } else {
      once();
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !stop) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
}

/** @returns {HTMLElement} where errors of one form are shown, and read out. */
export function problemBox() {
  return el("div", { class: "problem", role: "alert" });
}

/**
 * Show an error in the person's words, with what can be done.
 *
 * @param {HTMLElement} box
 * @param {Error} error an abort is no error.
 * @param {{askForKey: (message: string) => void}} app
 */
export function tell(box, error, app) {
  if (error.name === "AbortError") {
    fill(box, el("p", { class: "notice" }, "Stopped."));
    return;
  }
  if (!(error instanceof ApiError)) {
    fill(box, el("p", { class: "notice bad" }, error.message));
    // What is no refusal may be a bug of the page: whoever looks into the console should find it.
    console.error(error);
    return;
  }
  fill(box, el("div", { class: "notice bad" }, el("p", {}, sentence(error.message)), el("p", { class: "hint" }, remedy(error))));
  if (error.asksForKey) {
    app.askForKey(error.message);
  }
}

function sentence(message) {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function remedy(error) {
  const parts = [];
  if (error.asksForKey) {
    parts.push("Enter an API key at the top of the page.");
  }
  if (error.retryAfterS > 0) {
    parts.push(`It can be tried again in ${error.retryAfterS} s.`);
  }
  if (error.requestId) {
    parts.push(`To quote to the operator: request ${error.requestId}.`);
  }
  return parts.join(" ") || null;
}

function field(id, label, input, hint) {
  return el(
    "div",
    { class: "field" },
    el("label", { for: id }, label),
    input,
    hint ? el("p", { class: "hint", id: `${id}-hint` }, hint) : null,
  );
}
