/**
 * Which model a request names: a choice, shown where the server has several.
 */

import { el, fill } from "./dom.js";
import { choice } from "./form.js";

/**
 * A choice of the models that the server declares, kept up to date with what it says.
 *
 * @param {{id: string, app: Object}} options
 * @returns {{root: HTMLElement, value: () => (string|undefined)}} `value` is nothing where there is one model: the default answers.
 */
export function modelChoice({ id, app }) {
  const { root, input } = choice({ label: "Model", name: id, id, options: [["", "the default"]] });
  root.hidden = true;
  app.onInfo((info) => {
    const kept = input.value;
    fill(input, info.models.map((model, place) => el("option", { value: model.name }, told(model, place))));
    input.value = info.models.some((model) => model.name === kept) ? kept : info.models[0].name;
    root.hidden = info.models.length < 2;
  });
  return { root, value: () => (root.hidden ? undefined : input.value || undefined) };
}

function told(model, place) {
  const notes = [place === 0 ? "default" : null, model.state === "loaded" ? null : model.state];
  const words = notes.filter(Boolean).join(", ");
  return words ? `${model.name} (${words})` : model.name;
}
