/**
 * A question before something that others would notice.
 */

import { el, newId } from "./dom.js";
import { button } from "./form.js";

/**
 * Ask, in a dialog; Escape and the second button are a no.
 *
 * @param {{title: string, words: string, yes: string, no: string}} options
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, words, yes, no }) {
  return new Promise((resolve) => {
    const id = newId("confirm");
    const close = (answer) => dialog.close(answer);
    const dialog = el(
      "dialog",
      { class: "confirm", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-words` },
      el("h3", { id: `${id}-title` }, title),
      el("p", { id: `${id}-words` }, words),
      el("div", { class: "row" }, button(yes, { primary: true, on: () => close("yes") }), button(no, { on: () => close("no") })),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
