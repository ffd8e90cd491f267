/**
 * Many items sent in slices, two at a time, so that results come while others wait; what the server puts off is sent again.
 */

import { ApiError } from "./api.js";

const AT_ONCE = 2;
const FIRST = 8;
const USUAL = 32;
const MAX_WAIT_S = 120;
const MAX_REFUSALS = 30;
const DEFAULT_WAIT_S = 2;
// The most bytes that JSON makes of one UTF-16 unit: \u0000.
const BYTES_A_UNIT = 6;

/**
 * Send all items.
 *
 * @param {{sizes: number[], limits: {max_pairs: number, max_body_bytes: number}, signal: AbortSignal,
 *   send: (from: number, to: number, signal: AbortSignal) => Promise<void>, onWait: (seconds: number) => void}} options
 *   `sizes`: the length of each item's texts; `send` sends those of the places `from` up to `to`, and takes in the answer;
 *   `onWait` is told when the server is busy, and with 0 when it goes on.
 * @returns {Promise<void>} when all were sent.
 * @throws {ApiError} the server refuses for good; other slices are then given up.
 */
export async function inSlices({ sizes, limits, signal, send, onWait }) {
  const giveUp = new AbortController();
  const both = AbortSignal.any([signal, giveUp.signal]);
  const queue = slicesOf(sizes, limits);
  const shared = { queue, refusals: 0, until: 0, onWait, signal: both };
  const worker = async () => {
    while (queue.length) {
      await rested(shared);
      const slice = queue.shift();
      if (slice) {
        await once(slice, shared, send);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } finally {
    giveUp.abort();
  }
}

/** @returns {Array<[number, number]>} where slices begin and end; the first are small, so that something is seen at once. */
export function slicesOf(sizes, limits) {
  const slices = [];
  const maxUnits = limits.max_body_bytes / BYTES_A_UNIT / 2;
  for (let from = 0; from < sizes.length; ) {
    const most = Math.min(slices.length < AT_ONCE ? FIRST : USUAL, limits.max_pairs);
    let to = from;
    let units = 0;
    do {
      units += sizes[to];
      to += 1;
    } while (to < sizes.length && to - from < most && units + sizes[to] <= maxUnits);
    slices.push([from, to]);
    from = to;
  }
  return slices;
}

async function once([from, to], shared, send) {
  try {
    await send(from, to, shared.signal);
    shared.refusals = 0;
  } catch (error) {
    if (!putOff(error) || shared.refusals >= MAX_REFUSALS) {
      throw error;
    }
    shared.refusals += 1;
    shared.until = Math.max(shared.until, performance.now() + 1000 * (error.retryAfterS || DEFAULT_WAIT_S));
    shared.queue.unshift(...halves(from, to));
  }
}

/** What a full queue has no room for may fit in two parts. */
function halves(from, to) {
  const middle = Math.ceil((from + to) / 2);
  return middle < to ? [[from, middle], [middle, to]] : [[from, to]];
}

function putOff(error) {
  const busy = error instanceof ApiError && (error.status === 429 || error.status === 503);
  return busy && error.retryAfterS <= MAX_WAIT_S && (error.status === 429 || error.retryAfterS > 0);
}

async function rested(shared) {
  while (shared.until > performance.now()) {
    const left = shared.until - performance.now();
    shared.onWait(Math.ceil(left / 1000));
    await pause(Math.min(1000, left), shared.signal);
    if (shared.until <= performance.now()) {
      shared.onWait(0);
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stopped = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stopped);
      resolve();
    }, ms);
    signal.addEventListener("abort", stopped, { once: true });
  });
}
