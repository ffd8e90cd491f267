/**
 * The style sheets of single tabs, loaded when a tab first needs them.
 */

import { el } from "./dom.js";

const loaded = new Map();

/**
 * Add the style sheet of a tab, once.
 *
 * @param {string} name of the file in `css/`, without its ending.
 * @returns {Promise<void>} when it holds; when it cannot be loaded, too: a tab without its looks is still a tab.
 */
export function loadStyle(name) {
  if (!loaded.has(name)) {
    loaded.set(name, added(name));
  }
  return loaded.get(name);
}

function added(name) {
  return new Promise((resolve) => {
    const done = () => resolve();
    document.head.append(el("link", { rel: "stylesheet", href: `page/css/${name}.css`, on: { load: done, error: done } }));
  });
}
