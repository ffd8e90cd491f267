/**
 * Server: its numbers, live, as long as the tab is seen.
 */

import { ApiError, call } from "../api.js";
import { el, fill } from "../dom.js";
import { button, problemBox, tell } from "../form.js";
import { History } from "../measures.js";
import { Reading } from "../metrics.js";
import { ServerView } from "../serverview.js";
import { loadStyle } from "../styles.js";

const EVERY_MS = 2000;

/**
 * Build the tab.
 *
 * @param {HTMLElement} panel
 * @param {Object} app
 * @returns {Promise<{onShown: () => void, onHidden: () => void}>}
 */
export async function mount(panel, app) {
  await loadStyle("server");
  const watch = new Watch(panel, app);
  document.addEventListener("visibilitychange", () => watch.goOn());
  // A key was entered, or the model was loaded: what was refused before may be told now.
  app.onInfo(() => {
    watch.refused = false;
    watch.goOn();
  });
  return { onShown: () => watch.goOn(), onHidden: () => watch.rest() };
}

/** Asks every two seconds while somebody can see it. */
class Watch {
  constructor(panel, app) {
    this.panel = panel;
    this.app = app;
    this.history = new History();
    this.paused = false;
    this.refused = false;
    this.timer = 0;
    this.asking = false;
    this.view = new ServerView();
    this.problem = problemBox();
    this.told = "";
    this.pause = button("Pause", { id: "server-pause", on: () => this.toggle() });
    this.state = el("p", { class: "hint", id: "server-state" }, "Every 2 s.");
    fill(
      panel,
      el(
        "div",
        { class: "stack" },
        el("div", { class: "server-head" }, el("h2", {}, "Server"), el("div", { class: "server-tools" }, this.state, this.pause)),
        el("p", { class: "lead" }, "What this server process is doing now. Each replica counts for itself; for all of them and for longer times there is Prometheus."),
        this.problem,
        this.view.root,
      ),
    );
  }

  get isSeen() {
    return !this.panel.hidden && document.visibilityState === "visible";
  }

  toggle() {
    this.paused = !this.paused;
    this.refused = false;
    this.pause.textContent = this.paused ? "Go on" : "Pause";
    fill(this.state, this.paused ? "Paused." : "Every 2 s.");
    this.app.say(this.paused ? "Paused." : "Goes on.");
    this.goOn();
  }

  rest() {
    clearTimeout(this.timer);
  }

  goOn() {
    this.rest();
    if (this.isSeen && !this.paused && !this.refused && !this.asking) {
      this.ask();
    }
  }

  async ask() {
    this.asking = true;
    try {
      const [ready, metrics] = await Promise.all([readiness(), call("metrics")]);
      this.history.add(new Reading(metrics.data, performance.now()));
      this.view.show({ history: this.history, ready, info: this.app.info });
      this.clear();
    } catch (error) {
      this.tell(error);
    } finally {
      this.asking = false;
    }
    if (this.isSeen && !this.paused && !this.refused) {
      this.timer = setTimeout(() => this.goOn(), EVERY_MS);
    }
  }

  clear() {
    if (this.told) {
      this.told = "";
      fill(this.problem);
    }
  }

  /** Say each error once, not every two seconds. */
  tell(error) {
    this.refused = error instanceof ApiError && error.asksForKey;
    if (this.told === error.message) {
      return;
    }
    this.told = error.message;
    tell(this.problem, error, this.app);
    if (this.refused) {
      this.problem.append(
        el("p", { class: "notice", id: "server-key" }, "The metrics of this server need an API key (", el("code", {}, "--no-public-metrics"), "). They are shown once one is entered."),
      );
    }
  }
}

/** What `/readyz` says; a no comes with status 503 and its reasons. */
async function readiness() {
  try {
    return (await call("readyz")).data;
  } catch (error) {
    if (error.data?.checks) {
      return error.data;
    }
    throw error;
  }
}
