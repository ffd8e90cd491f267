/**
 * Pasted text as documents or as pairs.
 */

/**
 * Documents of a pasted text.
 *
 * @param {string} text
 * @param {"auto"|"lines"|"blocks"} way one a line, one a block between blank lines, or whichever it looks like.
 * @returns {{way: "lines"|"blocks", documents: string[]}} blank ones left out.
 */
export function documentsOf(text, way) {
  const blocks = () => text.split(/\r?\n[^\S\n]*\r?\n\s*/).map((one) => one.trim()).filter(Boolean);
  if (way === "blocks") {
    return { way, documents: blocks() };
  }
  const lines = text.split(/\r?\n/).map((one) => one.trim()).filter(Boolean);
  if (way === "auto") {
    const found = blocks();
    // Blank lines between single lines mean the same either way; a block of several lines tells them apart.
    if (found.length > 1 && found.length < lines.length) {
      return { way: "blocks", documents: found };
    }
  }
  return { way: "lines", documents: lines };
}

/**
 * Pairs of a pasted text: one a line, the texts separated by a tab or by " | ".
 *
 * @param {string} text
 * @returns {{pairs: Array<[string, string]>, without: number[]}} `without`: lines that have no separator, from 1.
 */
export function pairsOf(text) {
  const pairs = [];
  const without = [];
  text.split(/\r?\n/).forEach((line, place) => {
    const [, a, b] = /^(.*?)(?:\t|\s*\|\s*)(.*)$/.exec(line) ?? [];
    if (a?.trim() && b?.trim()) {
      pairs.push([a.trim(), b.trim()]);
    } else if (line.trim()) {
      without.push(place + 1);
    }
  });
  return { pairs, without };
}

/**
 * The beginning of a text that has at most so many characters, as the server counts them (code points).
 *
 * @param {string} text
 * @param {number} max
 * @returns {string}
 */
export function cutTo(text, max) {
  if (text.length <= max) {
    return text;
  }
  // Twice as many UTF-16 units hold at least as many code points.
  const points = Array.from(text.slice(0, 2 * max));
  return points.length <= max ? points.join("") : points.slice(0, max).join("");
}
