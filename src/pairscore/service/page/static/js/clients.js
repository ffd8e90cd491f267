/**
 * A request as code: curl, Python, Cohere's client, and the library without a server. The key is never written out.
 */

import { apiKey } from "./api.js";
import { copyButton } from "./copy.js";
import { el, fill, newId } from "./dom.js";
import { choice } from "./form.js";

const STEP = "    ";
const MAX_SHOWN = 20_000;

/**
 * The request as a curl command. The body comes from a here-document: it needs no quoting and may be as long as it likes.
 *
 * @param {string} path relative to the page, such as `v1/explain`.
 * @param {Object} body
 * @returns {string}
 */
export function curlOf(path, body) {
  const head = [`curl -sS ${shellQuoted(addressOf(path))}`, '-H "Content-Type: application/json"'];
  if (apiKey()) {
    head.push('-H "Authorization: Bearer $API_KEY"');
  }
  head.push("--data-binary @- <<'JSON'");
  return `${head.join(" \\\n  ")}\n${JSON.stringify(body, null, 2)}\nJSON\n`;
}

/**
 * The request in Python, with the package requests.
 *
 * @param {string} path
 * @param {Object} body
 * @returns {string}
 */
export function requestsOf(path, body) {
  const key = apiKey() ? `${STEP}headers={"Authorization": "Bearer your-key"},\n` : "";
  return (
    `import requests\n\nanswer = requests.post(\n${STEP}${pythonOf(addressOf(path))},\n${key}` +
    `${STEP}json=${pythonOf(body, 1)},\n${STEP}timeout=60,\n)\nanswer.raise_for_status()\nprint(answer.json())\n`
  );
}

/**
 * A ranking with Cohere's own client.
 *
 * @param {{query: string, documents: string[], model: string}} body
 * @returns {string}
 */
export function cohereOf({ query, documents, model }) {
  const key = apiKey() ? "" : "  # this server asks for none: any text does";
  return (
    `import cohere\n\nquery = ${pythonOf(query)}\ndocuments = ${pythonOf(documents)}\n\n` +
    `client = cohere.ClientV2(\n${STEP}api_key="your-key",${key}\n${STEP}base_url=${pythonOf(addressOf("").replace(/\/$/, ""))},\n)\n` +
    `answer = client.rerank(model=${pythonOf(model)}, query=query, documents=documents)\n` +
    `for result in answer.results:\n${STEP}print(result.relevance_score, documents[result.index])\n`
  );
}

/**
 * A ranking with the library, in the caller's own process.
 *
 * @param {{query: string, documents: string[], model: string}} body
 * @returns {string}
 */
export function libraryOf({ query, documents, model }) {
  return (
    `from pairscore import CrossEncoder\n\nquery = ${pythonOf(query)}\ndocuments = ${pythonOf(documents)}\n\n` +
    `with CrossEncoder(${pythonOf(model)}) as model:\n` +
    `${STEP}for hit in model.rank(query, documents, return_documents=True):\n${STEP}${STEP}print(hit["score"], hit["text"])\n`
  );
}

/** The two clients that every request has. */
export const ANY_CLIENT = [
  ["curl", "curl", ({ path, body }) => curlOf(path, body)],
  ["requests", "Python, requests", ({ path, body }) => requestsOf(path, body)],
];

/** Those of a ranking. `body.model` may be left out; `model` is then what answers. */
export const RANK_CLIENTS = [
  ...ANY_CLIENT,
  ["cohere", "Python, Cohere's client", ({ body, model }) => cohereOf({ model, ...body })],
  ["library", "Python, without a server", ({ body, model }) => libraryOf({ model, ...body })],
];

/**
 * A box, closed at first, with the request as code, a choice of the client, and a button that copies.
 *
 * @param {{id: string, clients: Array<[string, string, (request: Object) => string]>, app: Object,
 *   requestOf: () => {path: string, body: Object, model?: string, note?: string}}} options
 *   `requestOf` is asked when the box is opened and when `refresh` is called; `note` stands above the code.
 * @returns {{root: HTMLElement, refresh: () => void}}
 */
export function clientBox({ id, clients, app, requestOf }) {
  const { root: field, input } = choice({ label: "Client", name: `${id}-client`, id: `${id}-client`, options: clients.map(([key, words]) => [key, words]) });
  const code = el("pre", { id: newId(id), tabindex: "0", "aria-label": "The request as code", role: "region" });
  const note = el("p", { class: "hint" });
  const written = () => {
    const request = requestOf();
    return { text: clients.find(([key]) => key === input.value)[2](request), note: request.note ?? "" };
  };
  const refresh = () => {
    if (!root.open) {
      return;
    }
    const { text, note: words } = written();
    fill(code, text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}\n\u2026` : text);
    fill(note, [words, text.length > MAX_SHOWN ? "This is its beginning; the button copies all of it." : ""].filter(Boolean).join(" "));
  };
  const root = el(
    "details",
    { class: "clients", id, on: { toggle: refresh } },
    el("summary", {}, "The request as code"),
    el("div", { class: "stack" }, el("div", { class: "row" }, field, copyButton("Copy", () => written().text, app)), note, code),
  );
  input.addEventListener("change", refresh);
  return { root, refresh };
}

function addressOf(path) {
  return new URL(path, new URL(".", document.baseURI)).href;
}

function shellQuoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A value as Python writes it; JSON's texts and numbers are Python's too. */
function pythonOf(value, depth = 0) {
  if (value === null || value === undefined) {
    return "None";
  }
  if (typeof value === "boolean") {
    return value ? "True" : "False";
  }
  if (Array.isArray(value)) {
    return enclosed("[", value.map((one) => pythonOf(one, depth + 1)), "]", depth);
  }
  if (typeof value === "object") {
    const kept = Object.entries(value).filter(([, one]) => one !== undefined);
    return enclosed("{", kept.map(([name, one]) => `${JSON.stringify(name)}: ${pythonOf(one, depth + 1)}`), "}", depth);
  }
  return JSON.stringify(value);
}

function enclosed(open, parts, close, depth) {
  if (!parts.length) {
    return open + close;
  }
  const indent = STEP.repeat(depth);
  return `${open}\n${parts.map((part) => `${indent}${STEP}${part},\n`).join("")}${indent}${close}`;
}
