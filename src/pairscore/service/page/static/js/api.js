/**
 * The one way to the server: JSON, the API key of this tab, and errors with what a person can do about them.
 */

const KEY = "pairscore-key";

/** What went wrong, with the server's own words. */
export class ApiError extends Error {
  /**
   * @param {{type: string, message: string, status: number, requestId?: string, retryAfterS?: number, data?: *}} facts
   */
  constructor({ type, message, status, requestId = "", retryAfterS = 0, data = null }) {
    super(message);
    this.name = "ApiError";
    this.type = type;
    this.status = status;
    this.requestId = requestId;
    this.retryAfterS = retryAfterS;
    /** The body of the answer: a probe that says no says why in it. */
    this.data = data;
  }

  /** @returns {boolean} whether a key is missing or wrong. */
  get asksForKey() {
    return this.status === 401 || this.status === 403;
  }
}

/** @returns {string} the API key of this tab, or nothing. */
export function apiKey() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return held;
  }
}

let held = "";

/** Keep the key for this tab; an empty one forgets it. */
export function keepKey(key) {
  held = key;
  try {
    if (key) {
      sessionStorage.setItem(KEY, key);
    } else {
      sessionStorage.removeItem(KEY);
    }
  } catch {
    // Storage may be forbidden: then the key is kept in memory only.
  }
}

/**
 * Ask the server.
 *
 * @param {string} path relative to the page, such as `v1/explain`.
 * @param {{body?: *, signal?: AbortSignal}} options a body makes it a POST.
 * @returns {Promise<{data: *, headers: Headers, ms: number}>} JSON as it is, anything else as text.
 * @throws {ApiError} the server refused, or does not answer.
 */
export async function call(path, { body, signal } = {}) {
  const began = performance.now();
  const { response, text } = await sent(path, body, signal);
  const data = parsed(text, response);
  if (!response.ok) {
    throw refusal(response, data);
  }
  return { data, headers: response.headers, ms: performance.now() - began };
}

async function sent(path, body, signal) {
  const headers = { Accept: "application/json, text/plain;q=0.5" };
  const key = apiKey();
  if (key) {
    headers.Authorization = `Bearer ${key}`;
  }
  const init = { headers, signal, cache: "no-store", credentials: "omit" };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    Object.assign(init, { method: "POST", body: JSON.stringify(body) });
  }
  try {
    const response = await fetch(path, init);
    // An answer may break off, too.
    return { response, text: await response.text() };
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new ApiError({
      type: "NoAnswer",
      status: 0,
      message: "The server does not answer. It may have ended, or the network between is interrupted.",
    });
  }
}

function parsed(text, response) {
  if (!(response.headers.get("Content-Type") ?? "").includes("json")) {
    return text;
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError({
      type: "BrokenAnswer",
      status: response.status,
      message: "The answer is broken: it says that it is JSON and is not. A proxy between may have changed it.",
    });
  }
}

function refusal(response, data) {
  const told = data?.error ?? {};
  return new ApiError({
    type: told.type ?? "HTTPError",
    status: response.status,
    message: told.message ?? `The server answered with status ${response.status}.`,
    requestId: told.request_id ?? response.headers.get("X-Request-ID") ?? "",
    retryAfterS: Number(response.headers.get("Retry-After")) || 0,
    data,
  });
}
