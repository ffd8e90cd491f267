/**
 * A ranking that grows: which documents have scores so far, in which order, and what a file of it holds.
 */

import { csvOf } from "./download.js";

/** Documents of one query, and what is known of them. */
export class Ranking {
  /**
   * @param {{query: string, documents: string[], cut: Set<number>}} options `cut`: places of documents of which only the beginning is sent.
   */
  constructor({ query, documents, cut }) {
    this.query = query;
    this.documents = documents;
    this.cut = cut;
    this.scores = new Float64Array(documents.length);
    this.probabilities = new Float64Array(documents.length);
    this.truncated = new Uint8Array(documents.length);
    /** Places of the scored documents, best first; ties keep the order of the input. */
    this.order = [];
    this.model = "";
    this.scale = "";
  }

  /** @returns {number} how many have a score. */
  get numScored() {
    return this.order.length;
  }

  /** @returns {boolean} whether all have one. */
  get whole() {
    return this.numScored === this.documents.length;
  }

  /** @returns {number} how many the model, or this page, read in part. */
  get numTruncated() {
    return this.truncated.reduce((sum, one) => sum + one, 0);
  }

  /**
   * Take in an answer of `/rerank`.
   *
   * @param {{model: string, scale: string, results: Array<{corpus_id: number, score: number, probability: number, truncated: boolean}>}} answer
   * @param {number} from the place of its first document.
   */
  take({ model, scale, results }, from) {
    Object.assign(this, { model, scale });
    for (const { corpus_id: place, score, probability, truncated } of results) {
      const at = from + place;
      this.scores[at] = score;
      this.probabilities[at] = probability;
      this.truncated[at] = truncated || this.cut.has(at) ? 1 : 0;
      this.order.push(at);
    }
    this.order.sort((a, b) => this.scores[b] - this.scores[a] || a - b);
  }

  /** @returns {Array<Object>} all that have a score, best first, in the words of the service. */
  rows() {
    return this.order.map((at, place) => ({
      rank: place + 1,
      corpus_id: at,
      score: this.scores[at],
      probability: this.probabilities[at],
      truncated: this.truncated[at] === 1,
      text: this.documents[at],
    }));
  }

  /** @returns {string} */
  csv() {
    return csvOf(["rank", "corpus_id", "score", "probability", "truncated", "text"], this.rows());
  }

  /** @returns {string} */
  json() {
    const { model, scale, query } = this;
    return `${JSON.stringify({ model, scale, query, num_documents: this.documents.length, results: this.rows() }, null, 2)}\n`;
  }
}

/**
 * How a document moved, in words and as a direction.
 *
 * @param {number} before its rank before, from 1.
 * @param {number} after its rank now.
 * @returns {{way: "up"|"down"|"same", words: string}}
 */
export function movement(before, after) {
  if (before === after) {
    return { way: "same", words: `stays at ${after}` };
  }
  const way = before > after ? "up" : "down";
  return { way, words: `from ${before} to ${after}, ${way} ${Math.abs(before - after)}` };
}
