/**
 * CSV and TSV as spreadsheets write them: quotes around fields, doubled inside, line breaks within (RFC 4180).
 */

/** A file that cannot be read; the message is for people. */
export class FileProblem extends Error {}

const NEWLINES = /\r\n|\r|\n/g;

/**
 * The rows of a text, blank lines left out.
 *
 * @param {string} text
 * @param {string} delimiter one character.
 * @returns {Generator<{line: number, fields: string[]}>} `line` is where a row begins, from 1.
 * @throws {FileProblem} a quote is never closed, or something stands behind one that is.
 */
export function* rowsOf(text, delimiter) {
  const plain = new RegExp(`[^${delimiter === "|" ? "\\|" : delimiter}\\r\\n]*`, "y");
  const state = { text, at: 0, line: 1, plain };
  while (state.at < text.length) {
    const line = state.line;
    const fields = [];
    do {
      fields.push(text[state.at] === '"' ? quoted(state, delimiter) : unquoted(state));
    } while (text[state.at] === delimiter && ++state.at);
    endOfLine(state);
    if (fields.length > 1 || fields[0] !== "") {
      yield { line, fields };
    }
  }
}

/**
 * What separates the fields of a file, by its first line: spreadsheets write semicolons where the comma is in the numbers.
 *
 * @param {string} text
 * @returns {string}
 */
export function delimiterOf(text) {
  const head = text.slice(0, text.search(/[\r\n]|$/)).replace(/"[^"]*"/g, "");
  const counts = [",", ";", "\t"].map((sign) => [sign, head.split(sign).length]);
  return counts.reduce((best, one) => (one[1] > best[1] ? one : best))[0];
}

function unquoted(state) {
  state.plain.lastIndex = state.at;
  const [field] = state.plain.exec(state.text);
  state.at += field.length;
  return field;
}

function quoted(state, delimiter) {
  const { text } = state;
  const began = state.line;
  let value = "";
  for (let from = state.at + 1; ; ) {
    const close = text.indexOf('"', from);
    if (close < 0) {
      throw new FileProblem(`line ${began}: a quote is opened and never closed; double a quote that belongs to the text ("")`);
    }
    value += text.slice(from, close);
    state.at = close + 1;
    if (text[state.at] !== '"') {
      break;
    }
    value += '"';
    from = state.at + 1;
  }
  state.line += (value.match(NEWLINES) ?? []).length;
  if (state.at < text.length && ![delimiter, "\r", "\n"].includes(text[state.at])) {
    throw new FileProblem(`line ${state.line}: "${text[state.at]}" stands behind a closing quote; double a quote that belongs to the text ("")`);
  }
  return value;
}

function endOfLine(state) {
  const { text, at } = state;
  if (at < text.length) {
    state.at += text.startsWith("\r\n", at) ? 2 : 1;
    state.line += 1;
  }
}
