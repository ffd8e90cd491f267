/**
 * Models: which ones the server declares, which are in memory, and their loading and unloading.
 */

import { call } from "../api.js";
import { confirmed } from "../confirm.js";
import { el, fill } from "../dom.js";
import { button, problemBox, tell } from "../form.js";
import { bytes, many } from "../format.js";
import { factsOf } from "../modelfacts.js";
import { modelTable } from "../modeltable.js";
import { loadStyle } from "../styles.js";

const POLL_MS = 1500;

const DONE = { load: "was loaded", unload: "was unloaded", reload: "was loaded anew" };

/**
 * Build the tab.
 *
 * @param {HTMLElement} panel
 * @param {Object} app
 * @returns {Promise<{onShown: () => void, onHidden: () => void}>}
 */
export async function mount(panel, app) {
  await loadStyle("models");
  const view = new Models(app);
  fill(panel, view.root);
  app.onInfo(() => view.update());
  return { onShown: () => view.update(), onHidden: () => view.rest() };
}

/** What the tab knows, and what it shows of it. */
class Models {
  constructor(app) {
    this.app = app;
    this.entries = [];
    this.isUnlisted = false;
    this.named = new Map();
    this.rows = null;
    this.busy = new Map();
    this.states = null;
    this.may = null;
    this.timer = 0;
    this.problem = problemBox();
    this.list = el("div", { class: "stack", id: "models-list" });
    this.facts = el("div", { id: "models-facts" });
    this.root = el(
      "div",
      { class: "stack" },
      el("div", { class: "models-head" }, el("h2", {}, "Models"), button("Refresh", { id: "models-refresh", on: () => this.again() })),
      el("p", { class: "lead" }, "The models that this server was given at its start, which of them are in memory, and how the default one is run."),
      this.problem,
      this.list,
      this.facts,
    );
  }

  /** Ask which models there are, show it, and go on asking while one is being loaded. */
  async update() {
    clearTimeout(this.timer);
    try {
      this.entries = (await call("v1/models")).data.data;
    } catch (error) {
      this.isUnlisted = true;
      tell(this.problem, error, this.app);
      return;
    }
    if (this.isUnlisted) {
      this.isUnlisted = false;
      fill(this.problem);
    }
    this.show();
    const states = JSON.stringify(this.rows.map(({ name, state }) => [name, state]));
    const changed = this.states !== null && this.states !== states;
    this.states = states;
    if (changed) {
      // What is served has changed: the top of the page and the other tabs want to know.
      await this.app.refresh();
      this.show();
    }
    this.goOn();
  }

  goOn() {
    clearTimeout(this.timer);
    const underWay = this.busy.size > 0 || this.rows?.some((row) => row.state === "loading");
    if (underWay && !this.root.closest("[hidden]")) {
      this.timer = setTimeout(() => this.update(), POLL_MS);
    }
  }

  /** The tab is seen no more. */
  rest() {
    clearTimeout(this.timer);
  }

  async again() {
    fill(this.problem);
    await this.app.refresh();
    await this.update();
    this.app.say(`${many(this.rows?.length ?? 0, "model")}.`);
  }

  show() {
    const { info } = this.app;
    // What only `/info` says is remembered while it is silent, as when the default was unloaded.
    this.named = info ? new Map(info.models.map((model) => [model.name, model])) : this.named;
    this.rows = rowsOf(this.entries, this.named);
    this.may = info ? info.may_control === true : this.may;
    const act = this.may === false ? null : (verb, row) => this.act(verb, row);
    const table = modelTable({ rows: this.rows, busy: this.busy, act });
    keepFocus(this.list, () => fill(this.list, summary(this.rows), table, this.may === false ? howToAllow() : null));
    fill(this.facts, factsOf(info, this.rows[0]));
  }

  /** Load, unload or reload; the server answers when it is done. */
  async act(verb, row) {
    if (verb === "unload" && row.isDefault && !(await sure(row))) {
      return;
    }
    fill(this.problem);
    this.busy.set(row.name, verb);
    this.show();
    this.goOn();
    try {
      await call(`v1/models/${verb}`, { body: { model: row.name } });
      this.app.say(`${row.name} ${DONE[verb]}.`);
    } catch (error) {
      tell(this.problem, error, this.app);
    } finally {
      this.busy.delete(row.name);
      await this.update();
      this.backTo(row);
    }
  }

  /** The button that was pressed may be gone: the focus goes to what can be done next, unless somebody has left meanwhile. */
  backTo(row) {
    const held = document.activeElement;
    if (held === document.body || this.list.contains(held)) {
      const place = this.rows.findIndex(({ name }) => name === row.name);
      this.list.querySelector(`#models-row-${place} button`)?.focus();
    }
  }
}

/** One row for each model: what `/v1/models` says, and what only `/info` does. */
function rowsOf(entries, named) {
  return entries
    .filter((entry) => entry.id === entry.root)
    .map((entry, place) => ({
      name: entry.id,
      isDefault: place === 0,
      aliases: entries.filter((other) => other.root === entry.id && other.id !== entry.id).map((other) => other.id),
      state: entry.state,
      error: entry.error,
      memoryBytes: entry.memory_bytes,
      lastUsed: entry.last_used,
      backend: entry.backend,
      maxLength: entry.max_model_len,
      pinned: named.get(entry.id)?.pinned ?? place === 0,
      scale: named.get(entry.id)?.scale ?? null,
    }));
}

function summary(rows) {
  const inMemory = rows.filter((row) => row.state === "loaded");
  const weight = inMemory.reduce((sum, row) => sum + row.memoryBytes, 0);
  return el("p", { id: "models-summary" }, `${many(rows.length, "model")}, ${inMemory.length} in memory, ${bytes(weight)} in all.`);
}

function howToAllow() {
  return el(
    "p",
    { class: "hint", id: "models-control" },
    "This page may not load or unload models. The operator allows it with ",
    el("code", {}, "--model-control"),
    ": the names of the API keys that may, or ",
    el("code", {}, "*"),
    " for every request.",
  );
}

function sure(row) {
  return confirmed({
    title: `Unload ${row.name}?`,
    words:
      "It is the default model. As long as it is not in memory the server says that it is not ready, so a load balancer sends nothing here; " +
      "the next request that names no model loads it again and waits for that.",
    yes: "Unload it",
    no: "Keep it",
  });
}

/** Draw anew, and put the focus back on the button that had it, if it is still there. */
function keepFocus(box, draw) {
  const held = box.contains(document.activeElement) ? document.activeElement : null;
  const id = held?.id;
  const row = held?.closest("tr")?.id;
  draw();
  if (!held) {
    return;
  }
  const again = (id && document.getElementById(id)) || null;
  const next = again && !again.disabled ? again : row && document.getElementById(row)?.querySelector("button:not(:disabled)");
  next?.focus();
}
