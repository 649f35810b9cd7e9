/** The connection to the server: login, and a WebSocket that comes back by itself. */

import { ServerError, request } from "./api.js";
import { parseFrame } from "./frames.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 5000;
// After so long without a message, the server is asked whether it is still there.
const QUIET_MS = 8000;
const ANSWER_MS = 4000;

/**
 * Logs in with the token in the address's fragment, which is then dropped from the address, or with the cookie of an
 * earlier login: an old address may have an old token.
 * @returns {Promise<object>} The server's status.
 * @throws {ServerError} Neither is valid, or there is no server.
 */
export async function login() {
  const token = tokenOf(location.hash.slice(1));
  let refusal = null;
  if (token) {
    try {
      await request("/api/login", { json: { token } });
    } catch (error) {
      if (![401, 429].includes(error.status)) throw error;
      refusal = error;
    }
  }
  try {
    const status = await request("/api/status");
    if (token) history.replaceState(history.state, "", location.pathname);
    return status;
  } catch (error) {
    throw error.status === 401 && refusal ? refusal : error;
  }
}

function tokenOf(fragment) {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment; // It is damaged, which the server says.
  }
}

export class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  #watched = [];
  #delay = FIRST_DELAY_MS;
  #retry = 0;
  #heardAt = 0;
  #attempt = 0;
  #wasLive = false;
  #handlers;

  /**
   * @param {{onState: (state: string, text?: string) => void, onStatus: (status: object) => void,
   *   onFrame: (frame: object) => void}} handlers States: "connecting", "live", "reconnecting", "refused" (the cookie
   *   or the token is not valid; nothing is tried until `start` is called again).
   */
  constructor(handlers) {
    this.#handlers = handlers;
    const now = () => this.#socket === null && this.#retry && this.start();
    addEventListener("online", now);
    addEventListener("visibilitychange", () => document.visibilityState === "visible" && now());
    setInterval(() => this.#checkAnswers(), ANSWER_MS);
  }

  /** Logs in and connects. */
  async start() {
    clearTimeout(this.#retry);
    const attempt = ++this.#attempt;
    this.#handlers.onState(this.#wasLive ? "reconnecting" : "connecting");
    try {
      const status = await login();
      if (attempt !== this.#attempt) return;
      this.#handlers.onStatus(status);
      this.#open();
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (!(error instanceof ServerError)) throw error;
      if (error.status === 401) this.#handlers.onState("refused", error.message);
      else this.#tryLater(error.status ? error.message : "");
    }
  }

  /** Tells the server which sources are visible. */
  watch(ids) {
    this.#watched = ids;
    this.#send({ type: "watch", sources: ids });
  }

  /** Tells the server that a frame is on the screen, and so asks for the next one. */
  painted(source, number) {
    this.#send({ type: "painted", source, number });
  }

  #open() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
    socket.binaryType = "arraybuffer";
    let wasOpen = false;
    socket.onopen = () => {
      wasOpen = true;
      this.#wasLive = true;
      this.#delay = FIRST_DELAY_MS;
      this.#heardAt = performance.now();
      this.#handlers.onState("live");
      this.watch(this.#watched);
    };
    socket.onmessage = ({ data }) => {
      this.#heardAt = performance.now();
      if (data instanceof ArrayBuffer) this.#handlers.onFrame(parseFrame(data));
      else this.#handlers.onStatus(JSON.parse(data));
    };
    socket.onclose = ({ reason }) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#tryLater(reason || (wasOpen ? "" : "the server takes no more pages; close one"));
    };
    this.#socket?.close();
    this.#socket = socket;
  }

  #tryLater(text) {
    this.#handlers.onState(this.#wasLive ? "reconnecting" : "connecting", text);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.start(), this.#delay);
    this.#delay = Math.min(1.6 * this.#delay, LONGEST_DELAY_MS);
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Notices a server that vanished without closing the connection. */
  async #checkAnswers() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || performance.now() - this.#heardAt < QUIET_MS) return;
    try {
      await request("/api/status", { signal: AbortSignal.timeout(ANSWER_MS) });
      this.#heardAt = performance.now();
    } catch {
      if (socket !== this.#socket) return;
      this.#socket = null;
      socket.close();
      this.#tryLater("");
    }
  }
}
