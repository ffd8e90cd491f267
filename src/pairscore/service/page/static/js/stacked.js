/**
 * Tables whose rows become small cards where there is no room for columns.
 */

import { el } from "./dom.js";

/**
 * A table of rows with a heading each.
 *
 * The roles are written out, because browsers take them from elements that are no longer laid out as a table.
 *
 * @param {{id?: string, caption: string, heads: Array<{words: string, number?: boolean}>,
 *   rows: Array<{attributes?: Object, head: *, cells: Array<*>}>}} options
 *   the first of `heads` is of the rows' headings; a cell is a node, a text or an array of these.
 * @returns {HTMLElement}
 */
export function stacked({ id = null, caption, heads, rows }) {
  const kind = (head) => (head.number ? "number" : null);
  return el(
    "table",
    { id, class: "stacks", role: "table" },
    el("caption", {}, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads.map((head) => el("th", { role: "columnheader", scope: "col", class: kind(head) }, head.words)))),
    el(
      "tbody",
      { role: "rowgroup" },
      rows.map(({ attributes = {}, head, cells }) =>
        el(
          "tr",
          { role: "row", ...attributes },
          el("th", { role: "rowheader", scope: "row" }, head),
          cells.map((cell, place) => el("td", { role: "cell", class: kind(heads[place + 1]), "data-label": heads[place + 1].words }, cell)),
        ),
      ),
    ),
  );
}
