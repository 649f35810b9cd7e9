/**
 * This device's camera: its frames are posted at the network's size, and the heat is drawn over the page's own video, so
 * the picture makes no round trip.
 */

import { ServerError, request } from "./api.js";
import { explanationOf } from "./frames.js";

/** The key of its tile, which is no source's id: those have no blanks. */
export const DEVICE = "this device";

const JPEG_QUALITY = 0.7;
const RETRY_MS = 1000;
const IDLE_MS = 200;
// Networks lose answers; a later frame is worth more than a late answer.
const ANSWER_MS = 5000;

/** Returns a sentence that says why there is no camera and what to do. @param {unknown} error */
export function cameraProblem(error) {
  if (!isSecureContext || !navigator.mediaDevices) {
    return `The browser gives its camera to https pages only. Start livecam serve with --host and open the https address
      that it prints, or open this page on the computer itself as http://localhost:${location.port || 80}.`.replace(/\s+/g, " ");
  }
  const sentences = {
    NotAllowedError:
      "The browser may not use the camera. Allow it with the symbol beside the address (on phones also in the system's " +
      "settings for the browser), then try again.",
    NotFoundError: "This device has no camera that the browser can see. Connect one, then try again.",
    NotReadableError: "Another program uses the camera. Close it, then try again.",
    OverconstrainedError: "That camera is gone. Choose another one.",
  };
  return sentences[error?.name] ?? `The camera does not start: ${error?.message ?? error}. Try again or choose another one.`;
}

export class DeviceCamera {
  #tile;
  #status;
  #onProblem;
  #video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  #grabbed = new OffscreenCanvas(1, 1);
  /** Its key on the server; empty until there is one. */
  #id = "";
  #explanation = null;
  #grabbedAt = 0;
  #fps = 0;
  #facing = "user";
  #settings = {};
  #isRunning = false;
  /** Counts starts and stops: the browser may ask its user in between, for as long as it takes. */
  #attempt = 0;

  /**
   * @param {import("./tile.js").Tile} tile Shows it.
   * @param {() => object} status Returns the server's status.
   * @param {(text: string) => void} onProblem
   */
  constructor(tile, status, onProblem) {
    this.#tile = tile;
    this.#status = status;
    this.#onProblem = onProblem;
    tile.change = (settings) => this.#change(settings);
    addEventListener("pagehide", () => this.#leave());
  }

  /** The camera that is used. */
  get deviceId() {
    return this.#video.srcObject?.getVideoTracks()[0]?.getSettings().deviceId ?? "";
  }

  /**
   * Starts the camera, or another one.
   * @param {string} [deviceId] Default: the one that faces where the last one did.
   * @throws {unknown} What `cameraProblem` explains.
   */
  async start(deviceId) {
    if (!isSecureContext || !navigator.mediaDevices) throw new Error("no secure context");
    this.#stopTracks();
    const attempt = ++this.#attempt;
    const choice = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: this.#facing } };
    const stream = await navigator.mediaDevices.getUserMedia({ video: { ...choice, width: { ideal: 1280 } }, audio: false });
    if (attempt !== this.#attempt) return stopTracksOf(stream);
    const { facingMode } = stream.getVideoTracks()[0].getSettings();
    this.#facing = facingMode ?? this.#facing;
    this.#tile.isMirrored = this.#facing !== "environment";
    this.#video.srcObject = stream;
    stream.getVideoTracks()[0].onended = () => this.#onProblem("The camera was disconnected. Connect it and start it again.");
    await this.#video.play();
    if (this.#isRunning || attempt !== this.#attempt) return;
    this.#isRunning = true;
    this.#drawFrames();
    this.#explainFrames();
  }

  /** Changes from the front to the back camera or back. */
  turn() {
    this.#facing = this.#facing === "environment" ? "user" : "environment";
    return this.start();
  }

  /** Stops it, here and on the server. */
  stop() {
    this.#attempt++;
    this.#isRunning = false;
    this.#stopTracks();
    this.#leave();
  }

  #stopTracks() {
    stopTracksOf(this.#video.srcObject);
  }

  #leave() {
    if (this.#id) request(`/api/cameras/${this.#id}`, { method: "DELETE", keepalive: true }).catch(() => {});
    this.#id = "";
  }

  /** Shows each frame of the video with the newest explanation. */
  async #drawFrames() {
    while (this.#isRunning) {
      await this.#nextFrame();
      this.#show();
    }
  }

  /** Shows the video as it is now with the newest explanation. */
  #show() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width || this.#tile.isFrozen || !this.#isRunning) return;
    const info = { fps: this.#fps, heat_age_ms: performance.now() - this.#grabbedAt };
    const [image, grab] = [this.#video, () => this.#grab()];
    this.#tile.show({ image, width, height, explanation: this.#explanation, info, grab });
  }

  #nextFrame() {
    const frozen = this.#tile.isFrozen;
    if (frozen) this.#video.pause();
    else if (this.#video.paused) this.#video.play().catch(() => {});
    if (frozen || !this.#isSeen) return wait(IDLE_MS);
    const isKnown = "requestVideoFrameCallback" in this.#video;
    const next = (tell) => (isKnown ? this.#video.requestVideoFrameCallback(tell) : requestAnimationFrame(tell));
    return Promise.race([wait(5 * IDLE_MS), new Promise(next)]);
  }

  get #isSeen() {
    return document.visibilityState === "visible" && this.#tile.isVisible;
  }

  /** Posts one frame after the other, each after the answer to the one before. */
  async #explainFrames() {
    let answeredAt = performance.now();
    while (this.#isRunning) {
      // Without an input size, the server is one that prepares its model.
      if (this.#tile.isFrozen || !this.#isSeen || !this.#video.videoWidth || !this.#status().input_size_wh) {
        await wait(IDLE_MS);
        continue;
      }
      try {
        this.#id ||= await this.#register();
        const grabbedAt = performance.now();
        const body = await this.#grab();
        const signal = AbortSignal.timeout(ANSWER_MS);
        const answer = await request(`/api/explain?camera=${encodeURIComponent(this.#id)}`, { body, signal });
        const now = performance.now();
        const fps = 1000 / (now - answeredAt);
        answeredAt = now;
        this.#explanation = explanationOf(answer);
        this.#grabbedAt = grabbedAt;
        this.#fps = this.#fps ? this.#fps + 0.1 * (fps - this.#fps) : fps;
        this.#tell({ state: "live", problem: "" });
        this.#show(); // The next frame of the video may be 30 ms away.
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #recover(error) {
    if (!(error instanceof ServerError)) {
      reportError(error); // A bug, or a camera that is being changed: the next frame may do.
      return wait(RETRY_MS);
    }
    if (error.status === 404) this.#id = ""; // It was forgotten while this page was hidden, or the server is a new one.
    this.#explanation = null;
    this.#tell(error.status === 503 ? { state: "preparing", problem: "" } : { state: "live", problem: error.message });
    if (error.status >= 400 && error.status < 500 && error.status !== 404) this.#onProblem(error.message);
    return wait(RETRY_MS);
  }

  #tell(changes) {
    const { state, problem } = this.#tile.source;
    if (changes.state !== state || changes.problem !== problem) this.#tile.update({ ...this.#tile.source, ...changes });
  }

  /** Makes the server know this camera, with the settings that it had. */
  async #register() {
    const { id } = await request("/api/cameras", { json: {} });
    try {
      if (Object.keys(this.#settings).length) await request(`/api/sources/${id}/settings`, { json: this.#settings });
    } catch (error) {
      if (error.status !== 400) throw error;
      this.#settings = {}; // This model or method does not have them.
      this.#onProblem(error.message);
    }
    const { settings } = await request(`/api/sources/${id}`);
    this.#tile.update({ ...this.#tile.source, settings });
    return id;
  }

  async #change(settings) {
    if (!this.#id) return void Object.assign(this.#settings, settings);
    const source = await request(`/api/sources/${this.#id}/settings`, { json: settings });
    Object.assign(this.#settings, settings);
    this.#tile.update({ ...this.#tile.source, settings: source.settings });
  }

  /** Returns the frame that is shown as a JPEG of the size that the network needs. */
  #grab() {
    const { videoWidth, videoHeight } = this.#video;
    [this.#grabbed.width, this.#grabbed.height] = postedSize(videoWidth, videoHeight, this.#status());
    const context = this.#grabbed.getContext("2d");
    context.imageSmoothingQuality = "medium";
    context.drawImage(this.#video, 0, 0, this.#grabbed.width, this.#grabbed.height);
    return this.#grabbed.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
  }
}

/** Returns width and height of what is posted: what the network sees of it has the network's size. */
export function postedSize(width, height, { input_size_wh: [inputWidth, inputHeight], fit }) {
  if (fit === "stretch") return [inputWidth, inputHeight];
  const scales = [inputWidth / width, inputHeight / height];
  const scale = Math.min(1, fit === "crop" ? Math.max(...scales) : Math.min(...scales));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** @param {MediaStream | null} stream */
function stopTracksOf(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
