/**
 * Places in a text: the server counts Unicode code points, JavaScript counts UTF-16 units.
 */

const SURROGATE = /[\ud800-\udfff]/;

/**
 * A way to cut pieces out of a text by the server's offsets.
 *
 * @param {string} text
 * @returns {{length: number, slice: (start: number, end?: number) => string}} all of it in code points.
 */
export function byPoints(text) {
  if (!SURROGATE.test(text)) {
    return { length: text.length, slice: (start, end = text.length) => text.slice(start, end) };
  }
  const points = Array.from(text);
  return { length: points.length, slice: (start, end = points.length) => points.slice(start, end).join("") };
}
