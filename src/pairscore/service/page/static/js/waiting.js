/**
 * What stands at the top while the server cannot say what it serves: why, and what can be done about it.
 */

import { ApiError, call } from "./api.js";
import { el, fill } from "./dom.js";
import { button } from "./form.js";

const RETRY_MS = 2000;

/**
 * Words and remedy for an `/info` that failed.
 *
 * @param {Error} error
 * @param {{refresh: () => Promise<void>}} app
 * @returns {HTMLElement}
 */
export function absence(error, app) {
  if (error.type === "ModelUnloadedError") {
    return unloaded(app);
  }
  const loading = error instanceof ApiError && error.status === 503;
  if (loading) {
    // It comes by itself; no answer at all is asked again by hand only, so that a closed server is left alone.
    setTimeout(() => app.refresh(), RETRY_MS);
  }
  return el(
    "div",
    { class: "notice bad", role: "alert" },
    el("p", {}, loading ? "The model is being loaded; the page goes on when it is there." : error.message),
    loading ? null : button("Try again", { on: () => app.refresh() }),
  );
}

function unloaded(app) {
  const box = el("div", { class: "notice", role: "status" });
  const load = button("Load it", {
    primary: true,
    on: async () => {
      load.disabled = true;
      try {
        // A request that scores loads what it needs; loading by name needs a right that this key may not have.
        await call("score", { body: { text_a: "a", text_b: "b" } });
        await app.refresh();
      } catch (failure) {
        fill(box, el("p", {}, failure.message), load);
        load.disabled = false;
      }
    },
  });
  fill(box, el("p", {}, "The default model was unloaded to free memory. The next request loads it again."), load);
  return box;
}
