/**
 * The page put together: what is served, the key, the tabs. Each tab's module is loaded when it is first shown.
 */

import { ApiError, apiKey, call, keepKey } from "./api.js";
import { byId, el, fill } from "./dom.js";
import { openTabs } from "./tabs.js";

const LOADERS = {
  score: () => import("./tabs/score.js"),
  rank: () => import("./tabs/rank.js"),
  compare: () => import("./tabs/compare.js"),
  search: () => import("./tabs/search.js"),
  models: () => import("./tabs/models.js"),
  server: () => import("./tabs/server.js"),
};

/** What tabs know of the page. */
class App {
  constructor() {
    /** What `/info` said last; null as long as it has not answered. */
    this.info = null;
    this.listeners = new Set();
  }

  /** Have a function called with what `/info` says, now if it is known, and whenever it is asked again. */
  onInfo(listener) {
    this.listeners.add(listener);
    if (this.info) {
      listener(this.info);
    }
  }

  /** Ask the server what it serves; a failure is shown at the top. */
  async refresh() {
    try {
      this.info = (await call("info")).data;
    } catch (error) {
      this.info = null;
      fill(byId("served"));
      await this.explainAbsence(error);
      return;
    }
    fill(byId("notices"));
    fill(byId("served"), `${this.info.model} \u00b7 ${this.info.backend}`);
    for (const listener of this.listeners) {
      listener(this.info);
    }
  }

  /** Say why the server has told nothing, and what can be done. */
  async explainAbsence(error) {
    if (error instanceof ApiError && error.asksForKey) {
      this.askForKey(error.message);
      return;
    }
    const { absence } = await import("./waiting.js");
    fill(byId("notices"), absence(error, this));
  }

  /** Open the field of the key, where the server asks for one. */
  askForKey(message) {
    fill(byId("notices"), el("p", { class: "notice", role: "status" }, `This server asks for an API key: ${message}.`));
    showKeyForm(true);
    byId("key-field").focus();
  }

  /** Have a sentence read out by screen readers. */
  say(words) {
    fill(byId("said"), words);
  }
}

const app = new App();

function showKeyForm(shown) {
  byId("key-form").hidden = !shown;
  byId("key-button").setAttribute("aria-expanded", String(shown));
}

function openKey() {
  const field = byId("key-field");
  field.value = apiKey();
  byId("key-button").addEventListener("click", () => {
    const shown = byId("key-form").hidden;
    showKeyForm(shown);
    if (shown) {
      field.focus();
    }
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    take(field.value.trim());
  });
  byId("key-forget").addEventListener("click", () => {
    field.value = "";
    take("");
  });
}

function take(key) {
  keepKey(key);
  fill(byId("notices"));
  showKeyForm(false);
  byId("key-button").focus();
  app.say(key ? "The key is used from now on." : "The key is forgotten.");
  app.refresh();
}

const mounted = new Map();

/** Build a tab when it is first shown; later only tell it that it is seen again. */
async function shown(name) {
  if (!mounted.has(name)) {
    mounted.set(name, mount(name));
  }
  const tab = await mounted.get(name);
  for (const [other, promise] of mounted) {
    if (other !== name) {
      promise.then((hidden) => hidden?.onHidden?.());
    }
  }
  tab?.onShown?.();
}

async function mount(name) {
  const panel = byId(`panel-${name}`);
  try {
    const module = await LOADERS[name]();
    return module.mount(panel, app);
  } catch (error) {
    mounted.delete(name);
    fill(panel, el("p", { class: "notice bad", role: "alert" }, `This part of the page could not be loaded: ${error.message}`));
    console.error(error);
    return null;
  }
}

openKey();
openTabs(shown);
app.refresh();
