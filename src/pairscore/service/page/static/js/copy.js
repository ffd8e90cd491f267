/**
 * Copying to the clipboard, also where the page is not served over HTTPS.
 */

import { el } from "./dom.js";
import { button } from "./form.js";

/**
 * A button that copies a text.
 *
 * @param {string} words what stands on it.
 * @param {() => string} textOf the text, asked for at the press.
 * @param {{say: (words: string) => void}} app
 * @returns {HTMLButtonElement}
 */
export function copyButton(words, textOf, app) {
  const made = button(words);
  let back = 0;
  const answer = (told) => {
    clearTimeout(back);
    made.textContent = told;
    app.say(told);
    back = setTimeout(() => {
      made.textContent = words;
    }, 2000);
  };
  made.addEventListener("click", async () => {
    answer((await copied(textOf(), made)) ? "Copied" : "Not copied: select it and press Ctrl+C");
  });
  return made;
}

async function copied(text, near) {
  try {
    // Missing where the page comes over plain HTTP from another machine, refused where a person forbids it.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedBySelection(text, near);
  }
}

function copiedBySelection(text, near) {
  const field = el("textarea", { class: "unseen", value: text, readonly: true, "aria-hidden": "true", tabindex: "-1" });
  near.after(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  near.focus();
  return done;
}
