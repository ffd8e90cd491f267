/**
 * Small line charts of the last minutes, with their words.
 */

import { el, fill, svg } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 64;
// Longer without a value, as while the tab was not seen, and the line is broken.
const GAP_MS = 10_000;

/**
 * A chart that is drawn anew with each value.
 *
 * @param {{title: string, lines: string[], format: (value: number) => string, spanMs: number, least?: number}} options
 *   `lines` are the names of the lines; `least` is the least that the axis reaches up to.
 * @returns {{root: HTMLElement, draw: (points: Array<{at: number, values: Array<number|null>}>) => void}}
 */
export function lineChart({ title, lines, format, spanMs, least = 1 }) {
  const paths = lines.map((_, place) => svg("path", { class: `line line-${place}`, "vector-effect": "non-scaling-stroke" }));
  const picture = svg(
    "svg",
    { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
    svg("path", { class: "grid", d: `M0 1H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 1}H${WIDTH}`, "vector-effect": "non-scaling-stroke" }),
    paths,
  );
  const top = el("span", {});
  const words = el("p", { class: "chart-words" });
  const root = el(
    "div",
    { class: "chart-box" },
    el("p", { class: "chart-top", "aria-hidden": "true" }, top),
    picture,
    el("p", { class: "chart-ends", "aria-hidden": "true" }, el("span", {}, "2 min ago"), lines.length > 1 ? key(lines) : null, el("span", {}, "now")),
    words,
  );
  const draw = (points) => {
    const known = points.flatMap(({ values }) => values).filter((value) => Number.isFinite(value));
    const max = roundUp(Math.max(least, ...known));
    // A frame without a line says nothing.
    root.hidden = known.length === 0;
    paths.forEach((path, line) => path.setAttribute("d", pathOf(points, line, { max, spanMs })));
    fill(top, format(max));
    const told = inWords(points, lines, format);
    fill(words, `Range: ${told}`);
    picture.setAttribute("aria-label", `${title}, the last two minutes. ${told}`);
  };
  draw([]);
  return { root, draw };
}

function key(lines) {
  return el(
    "span",
    { class: "chart-key" },
    lines.map((name, place) =>
      el("span", {}, svg("svg", { viewBox: "0 0 20 4", class: "chart-sample" }, svg("path", { class: `line line-${place}`, d: "M0 2H20" })), ` ${name} `),
    ),
  );
}

/** A path with gaps where nothing is known; the newest point stands at the right edge. */
function pathOf(points, line, { max, spanMs }) {
  const end = points.at(-1)?.at ?? 0;
  let pen = "M";
  let path = "";
  let before = -Infinity;
  for (const { at, values } of points) {
    const value = values[line];
    pen = at - before > GAP_MS ? "M" : pen;
    before = at;
    if (value === null || value === undefined || Number.isNaN(value)) {
      pen = "M";
      continue;
    }
    const x = WIDTH * (1 - (end - at) / spanMs);
    const y = HEIGHT - 1 - (HEIGHT - 2) * Math.min(1, value / max);
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  }
  return path;
}

function inWords(points, lines, format) {
  const told = lines.map((name, line) => {
    const values = points.map((point) => point.values[line]).filter((value) => Number.isFinite(value));
    if (!values.length) {
      return null;
    }
    const [low, high] = [format(Math.min(...values)), format(Math.max(...values))];
    const range = low === high ? low : `${low} to ${high}`;
    return lines.length > 1 ? `${name} ${range}` : range;
  });
  return told.filter(Boolean).join("; ") || "nothing yet";
}

/** The next of 1, 2, 5, 10, 20, ... */
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((factor) => factor * unit >= value * (1 - 1e-9));
  return step * unit;
}
