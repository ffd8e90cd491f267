/**
 * Numbers as people read them.
 */

const MINUS = "\u2212";

/** @returns {string} with a sign of its own width: 9.24, −4.07. */
export function number(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** @returns {string} with a plus, too: +1.20, −0.31. */
export function signed(value, digits = 2) {
  return value > 0 && Number(value.toFixed(digits)) !== 0 ? `+${number(value, digits)}` : number(value, digits);
}

/** @returns {string} 99.99 %, and never 100 % or 0 % for what is not. */
export function percent(share, digits = 1) {
  const least = 10 ** -digits;
  if (share > 0 && share * 100 < least) {
    return `< ${least.toFixed(digits)} %`;
  }
  if (share < 1 && share * 100 > 100 - least) {
    return `> ${(100 - least).toFixed(digits)} %`;
  }
  return `${(share * 100).toFixed(digits)} %`;
}

/** @returns {string} 1,234. */
export function count(value) {
  return Math.round(value).toLocaleString("en-GB");
}

/** @returns {string} "1 pair", "2 pairs". */
export function many(value, one, more = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : more}`;
}

/** @returns {string} 12 ms, 1.4 s, 3 min 20 s. */
export function duration(ms) {
  if (ms < 1000) {
    return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  }
  if (ms < 60_000) {
    return `${(ms / 1000).toFixed(1)} s`;
  }
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** @returns {string} 33 MiB. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  let rest = value;
  while (rest >= 1024 && place < units.length - 1) {
    rest /= 1024;
    place += 1;
  }
  return `${rest < 10 && place > 0 ? rest.toFixed(1) : Math.round(rest)} ${units[place]}`;
}

/** @returns {string} the text, cut at so many characters with an ellipsis. */
export function shortened(text, max = 120) {
  const flat = text.replace(/\s+/g, " ").trim();
  const points = Array.from(flat);
  return points.length <= max ? flat : `${points.slice(0, max - 1).join("")}\u2026`;
}
