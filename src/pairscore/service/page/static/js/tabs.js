/**
 * The tabs: as WAI-ARIA's authoring practices have them, with the address's hash as their memory.
 */

import { byId } from "./dom.js";

const NAMES = ["score", "rank", "compare", "search", "models", "server"];

/**
 * Make the tabs work.
 *
 * @param {(name: string) => void} onShown called each time a tab is shown, the first one included.
 */
export function openTabs(onShown) {
  const tabs = NAMES.map((name) => byId(`tab-${name}`));
  const show = (name) => {
    for (const other of NAMES) {
      const chosen = other === name;
      const tab = byId(`tab-${other}`);
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      byId(`panel-${other}`).hidden = !chosen;
    }
    // In a narrow window the row of tabs is wider than what is seen of it.
    byId(`tab-${name}`).scrollIntoView({ block: "nearest", inline: "nearest" });
    document.title = `${byId(`tab-${name}`).textContent} \u00b7 pairscore`;
    onShown(name);
  };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => go(NAMES[place]));
    tab.addEventListener("keydown", (event) => {
      const next = target(event.key, place);
      if (next !== null) {
        event.preventDefault();
        tabs[next].focus();
        go(NAMES[next]);
      }
    });
  });
  const fromAddress = () => {
    const name = location.hash.slice(1);
    // "#main" is where the skip link leads, and changes no tab.
    if (name !== "main") {
      show(NAMES.includes(name) ? name : NAMES[0]);
    }
  };
  const go = (name) => {
    history.replaceState(null, "", `#${name}`);
    show(name);
  };
  window.addEventListener("hashchange", fromAddress);
  if (location.hash === "#main") {
    show(NAMES[0]);
  } else {
    fromAddress();
  }
}

/** Which tab a key leads to from another one; null: none. */
function target(key, place) {
  const last = NAMES.length - 1;
  const moves = {
    ArrowRight: place === last ? 0 : place + 1,
    ArrowLeft: place === 0 ? last : place - 1,
    Home: 0,
    End: last,
  };
  return moves[key] ?? null;
}
