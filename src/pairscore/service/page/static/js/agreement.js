/**
 * How far two scores agree on the same pairs: ranks, Spearman's correlation, and where they part most.
 */

/**
 * A pair with both scores and its rank by either, 1 the highest; equal scores share the mean of their ranks.
 *
 * @typedef {{place: number, textA: string, textB: string, cosine: number, score: number, probability: number, truncated: boolean,
 *   cosineTruncated: boolean, cosineRank: number, scoreRank: number, apart: number}} Compared
 */

/**
 * Ranks, of the highest value first.
 *
 * @param {number[]} values
 * @returns {number[]} from 1; those of equal values are the mean of theirs.
 */
export function ranksOf(values) {
  const order = values.map((_, place) => place).sort((a, b) => values[b] - values[a]);
  const ranks = new Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && values[order[to]] === values[order[from]]) {
      to += 1;
    }
    for (let at = from; at < to; at += 1) {
      ranks[order[at]] = (from + to + 1) / 2;
    }
    from = to;
  }
  return ranks;
}

/**
 * Spearman's rank correlation.
 *
 * @param {number[]} a
 * @param {number[]} b
 * @returns {number|null} from -1 to 1; null of fewer than three values, and where one side has the same value throughout.
 */
export function spearman(a, b) {
  if (a.length < 3) {
    return null;
  }
  const [x, y] = [ranksOf(a), ranksOf(b)];
  const mean = (a.length + 1) / 2;
  const sum = (one, other) => one.reduce((total, value, place) => total + (value - mean) * (other[place] - mean), 0);
  const spread = Math.sqrt(sum(x, x) * sum(y, y));
  return spread === 0 ? null : sum(x, y) / spread;
}

/**
 * Pairs with their ranks, those first on which the two disagree most; of equal ones the first that came.
 *
 * @param {Array<Object>} results with `cosine` and `score`.
 * @returns {Compared[]}
 */
export function byDisagreement(results) {
  const byCosine = ranksOf(results.map((one) => one.cosine));
  const byScore = ranksOf(results.map((one) => one.score));
  return results
    .map((one, at) => ({ ...one, cosineRank: byCosine[at], scoreRank: byScore[at], apart: Math.abs(byCosine[at] - byScore[at]) }))
    .sort((a, b) => b.apart - a.apart || a.place - b.place);
}

/**
 * How many of the pairs to point at: at most eight, each at least a third of the list and two ranks apart.
 *
 * @param {Compared[]} compared by disagreement.
 * @returns {number}
 */
export function numNotable(compared) {
  const least = Math.max(2, compared.length / 3);
  return compared.filter((one, at) => at < 8 && one.apart >= least).length;
}
