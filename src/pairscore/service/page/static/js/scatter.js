/**
 * A scatter plot of two scores. One stop of the keyboard; arrow keys lead from point to point.
 */

import { el, fill, svg } from "./dom.js";
import { number } from "./format.js";

const WIDTH = 640;
const HEIGHT = 400;
const MARGIN = { left: 62, right: 20, top: 16, bottom: 52 };
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/**
 * A point: what it is called, and whether it is pointed at (a diamond with its number instead of a dot).
 *
 * @typedef {{x: number, y: number, name: string, mark: string|null}} Point
 */

/**
 * Draw points.
 *
 * @param {{id: string, points: Point[], xLabel: string, yLabel: string, label: string}} options
 * @returns {HTMLElement} a figure; the point that has the focus, or was pressed, is named below.
 */
export function scatter({ id, points, xLabel, yLabel, label }) {
  const x = axis(points.map((point) => point.x), [MARGIN.left, WIDTH - MARGIN.right]);
  const y = axis(points.map((point) => point.y), [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const named = el("p", { class: "hint scatter-named", id: `${id}-named`, role: "status" }, "Press a point, or go through them with Tab and the arrow keys.");
  // What is pointed at is drawn last, over the rest; the keyboard goes from left to right.
  const made = points.map((point) => ({ point, shape: shapeOf(point, x.place(point.x), y.place(point.y)) }));
  walk([...made].sort((a, b) => a.point.x - b.point.x || a.point.y - b.point.y), named);
  const drawn = [...made].sort((a, b) => Number(a.point.mark !== null) - Number(b.point.mark !== null));
  return el(
    "figure",
    { class: "scatter", id },
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": label, focusable: "false" },
      grid(x, y),
      axisWords(xLabel, yLabel),
      drawn.map((one) => one.shape),
    ),
    named,
  );
}

function walk(made, named) {
  made.forEach(({ point, shape }, at) => {
    shape.setAttribute("tabindex", at === 0 ? "0" : "-1");
    const name = () => fill(named, point.name);
    shape.addEventListener("focus", name);
    shape.addEventListener("click", () => enter(at));
    shape.addEventListener("pointerenter", name);
    shape.addEventListener("keydown", (event) => {
      const next = { Home: 0, End: made.length - 1 }[event.key] ?? at + (STEPS[event.key] ?? NaN);
      if (made[next]) {
        event.preventDefault();
        enter(next);
      }
    });
  });
  const enter = (at) => {
    made.forEach(({ shape }, place) => shape.setAttribute("tabindex", place === at ? "0" : "-1"));
    made[at].shape.focus();
  };
}

function shapeOf({ name, mark }, x, y) {
  const seen = mark === null ? [svg("circle", { r: 6 })] : [svg("path", { d: "M0-9 9 0 0 9-9 0Z" }), svg("text", { x: 12, y: -7 }, mark)];
  return svg(
    "g",
    { class: mark === null ? "point" : "point notable", role: "img", "aria-label": name, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
    svg("circle", { class: "reach", r: 14 }),
    seen,
  );
}

function grid(x, y) {
  return svg(
    "g",
    { class: "grid", "aria-hidden": "true" },
    x.ticks.map((value) => [
      svg("line", { x1: x.place(value), x2: x.place(value), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
      svg("text", { x: x.place(value), y: HEIGHT - MARGIN.bottom + 20, "text-anchor": "middle" }, number(value, x.digits)),
    ]),
    y.ticks.map((value) => [
      svg("line", { x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y.place(value), y2: y.place(value) }),
      svg("text", { x: MARGIN.left - 8, y: y.place(value) + 5, "text-anchor": "end" }, number(value, y.digits)),
    ]),
  );
}

function axisWords(xLabel, yLabel) {
  const middle = (MARGIN.top + HEIGHT - MARGIN.bottom) / 2;
  return svg(
    "g",
    { class: "axis-words", "aria-hidden": "true" },
    svg("text", { x: (MARGIN.left + WIDTH - MARGIN.right) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, xLabel),
    svg("text", { transform: `translate(16 ${middle}) rotate(-90)`, "text-anchor": "middle" }, yLabel),
  );
}

/** An axis with round ticks around all values. */
function axis(values, [from, to]) {
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const step = roundStep((most - least || 1) / 5);
  const first = Math.floor(least / step);
  const last = Math.max(Math.ceil(most / step), first + 1);
  const ticks = Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step);
  const place = (value) => from + ((value / step - first) / (last - first)) * (to - from);
  return { ticks, place, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

/** The next 1, 2 or 5 times a power of ten. */
function roundStep(width) {
  const power = 10 ** Math.floor(Math.log10(width));
  return power * ([1, 2, 5].find((one) => one * power >= width * 0.999) ?? 10);
}
