/** Requests to the server. */

/** An answer that is an error. Its message is a sentence for the user. */
export class ServerError extends Error {
  /**
   * @param {string} message
   * @param {number} status The HTTP status; 0 if the server did not answer.
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Sends a request and returns the JSON of its answer; null if the answer is empty.
 * @param {string} path
 * @param {{method?: string, json?: any, body?: Blob, signal?: AbortSignal, keepalive?: boolean}} [options] `json` and
 *   `body` make it a POST.
 * @throws {ServerError}
 */
export async function request(path, { method, json, body, signal, keepalive } = {}) {
  const isPost = json !== undefined || body !== undefined;
  const options = { method: method ?? (isPost ? "POST" : "GET"), body, signal, keepalive };
  if (json !== undefined) {
    Object.assign(options, { body: JSON.stringify(json), headers: { "Content-Type": "application/json" } });
  }
  let response, text;
  try {
    response = await fetch(path, options);
    text = await response.text(); // The connection may be lost in the middle of it, too.
  } catch {
    throw new ServerError("The server does not answer.", 0);
  }
  const answer = parsed(text);
  if (!response.ok) {
    throw new ServerError(answer?.error ?? `The server refused this (${response.status}).`, response.status);
  }
  if (answer === undefined) throw new ServerError("Something else than livecam answers at this address.", 0);
  return answer;
}

/** Returns the value of a JSON text, null of an empty one; undefined if it is something else. */
function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return undefined;
  }
}
