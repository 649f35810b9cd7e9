/** One source on the page: its picture with heat, its class, figures and state. */

import { History } from "./timeline.js";
import { readSpot } from "./spots.js";
import { durationText, notesOf, scoreText, setText, titleOf } from "./texts.js";
import { drawPicture, drawnPlaceOf, drawnSize } from "./views.js";

/**
 * @typedef {import("./views.js").Picture & {info: Record<string, any>, grab: () => Promise<Blob>}} ShownPicture
 *   `info`: fps, heat_age_ms, index and the like. `grab` returns the picture without heat as a JPEG.
 */

const DEFAULT_RATIO = 4 / 3;

export class Tile {
  /** @type {ShownPicture | null} */
  picture = null;
  isFrozen = false;
  isVisible = false;
  /** The marked spot, in fractions of the frame; `explanation` is null while it is being read. */
  spot = null;
  history = new History();
  #look;
  #isScheduled = false;
  #afterPaint = [];
  #width = 0;
  #heardAt = 0;

  /**
   * @param {string} key What the page calls it: a source's id, or `DEVICE`.
   * @param {object} source As the server describes it.
   * @param {() => import("./views.js").Look & {detail: string}} look Returns the look as it is now.
   */
  constructor(key, source, look) {
    this.key = key;
    this.#look = look;
    this.element = document.getElementById("tile-template").content.firstElementChild.cloneNode(true);
    this.canvas = this.find("canvas");
    this.button = this.find(".open");
    this.frame = this.find(".frame");
    new ResizeObserver(([entry]) => {
      this.#width = entry.contentRect.width;
      this.repaint();
    }).observe(this.canvas);
    this.update(source);
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  /** Takes what the server says of the source. */
  update(source) {
    this.source = source;
    this.#heardAt = performance.now();
    this.refresh();
  }

  /**
   * Shows a picture, unless the tile is frozen.
   * @param {ShownPicture} picture
   * @param {() => void} [afterPaint] Called when it is on the screen, or was left out.
   */
  show(picture, afterPaint) {
    if (this.isFrozen) {
      picture.image.close?.();
      afterPaint?.();
      return;
    }
    if (this.picture && this.picture.image !== picture.image) this.picture.image.close?.();
    this.picture = picture;
    if (picture.explanation) this.history.add(picture.explanation.predictions);
    if (afterPaint) this.#afterPaint.push(afterPaint);
    this.repaint();
  }

  /** Shows another explanation of the picture that is shown. */
  explain(explanation) {
    this.picture.explanation = explanation;
    this.repaint();
    this.refresh();
  }

  /** Draws the picture before the next frame of the screen. */
  repaint() {
    if (this.#isScheduled || !this.picture) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      if (this.picture) this.#paint();
      this.#afterPaint.splice(0).forEach((tell) => tell());
    });
  }

  #paint() {
    const look = this.look;
    const [width, height] = drawnSize(this.picture, look.view);
    const ratio = width / height;
    if (this.frame.dataset.ratio !== String(ratio)) {
      this.frame.dataset.ratio = ratio;
      this.frame.style.setProperty("--ratio", ratio);
    }
    // No larger than it is seen, and no larger than it is.
    const scale = this.#width ? Math.min(1, (this.#width * devicePixelRatio) / width) : 1;
    const size = [Math.max(2, Math.round(width * scale)), Math.max(2, Math.round(height * scale))];
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) {
      [this.canvas.width, this.canvas.height] = size;
    }
    drawPicture(this.canvas, this.picture, { ...look, hasLabels: true });
  }

  /** How this tile looks: the page's look, mirrored if its camera is. */
  get look() {
    const look = this.#look();
    return { ...look, mirror: look.mirror !== Boolean(this.isMirrored) };
  }

  /** Width by height of the picture, or what is likely. */
  get ratio() {
    const [width, height] = this.picture ? [this.picture.width, this.picture.height] : (this.source.size_wh ?? []);
    return (width && height ? width / height : DEFAULT_RATIO) * (this.look.view === "split" ? 2 : 1);
  }

  /** Brings the texts up to date. They change a few times a second only, so that they can be read. */
  refresh() {
    const { source, picture } = this;
    const state = this.isFrozen ? "frozen" : source.state;
    this.element.dataset.state = state;
    setText(this.find(".name"), source.name);
    setText(this.find(".badge"), this.isFrozen ? "frozen" : source.state === "ended" ? "ended" : "");
    const explanation = picture?.explanation;
    const isReadable = explanation && !["offline", "preparing"].includes(state);
    // The grid has its own labels.
    this.find(".caption").hidden = !isReadable || this.look.view === "grid";
    if (isReadable) {
      setText(this.find(".label"), titleOf(explanation));
      setText(this.find(".score"), scoreText(explanation.explained));
      setText(this.find(".also"), notesOf(explanation).join(" · "));
      this.#refreshOthers(explanation);
    }
    setText(this.find(".figures"), this.#figures());
    this.#refreshCard(state);
    this.#refreshSpot();
    const best = isReadable ? `: ${explanation.explained.label} ${scoreText(explanation.explained)}` : `, ${state}`;
    this.button.setAttribute("aria-label", `Enlarge ${source.name}${best}`);
    this.canvas.setAttribute("aria-label", `Picture of ${source.name}${best}`);
  }

  /** Names all classes in the colors of their contour lines, if several are explained. */
  #refreshOthers({ maps }) {
    const rows = maps.length > 1 ? maps : [];
    const list = this.find(".others");
    const text = JSON.stringify(rows.map(({ label, color, probability }) => [label, color, probability?.toFixed(2)]));
    if (list.dataset.text === text) return;
    list.dataset.text = text;
    list.replaceChildren(
      ...rows.map((row) => {
        const item = Object.assign(document.createElement("li"), { textContent: `${row.label} ${scoreText(row)}` });
        item.style.setProperty("--color", row.color);
        return item;
      }),
    );
  }

  #refreshCard(state) {
    const { source, picture } = this;
    const seconds = (source.offline_seconds ?? 0) + (performance.now() - this.#heardAt) / 1000;
    const isWaiting = state === "preparing" || (state === "live" && !picture);
    const text = state === "offline" ? `offline for ${durationText(seconds)}` : isWaiting ? "preparing" : "";
    this.find(".card").hidden = !text;
    setText(this.find(".card .state"), text);
    setText(this.find(".card .problem"), text ? (source.problem ?? "") : "");
  }

  #figures() {
    const { detail } = this.look;
    const info = this.picture?.info;
    if (!info || detail === "none" || this.source.state === "offline") return "";
    const few = this.isFrozen ? [] : [`${Math.round(info.fps ?? 0)} fps`, `heat ${Math.round(info.heat_age_ms)} ms old`];
    if (detail === "few") return few.join(" · ");
    const { method, layer, precision, viewers } = this.source;
    const engine = precision === "int8" ? `${this.source.engine} int8` : this.source.engine;
    const drops = info.drops ? `${info.drops} dropped` : "";
    const reconnects = info.reconnects ? `${info.reconnects} reconnects` : "";
    const watched = viewers > 1 ? `${viewers} viewers` : "";
    return [...few, drops, reconnects, watched, method, layer, engine].filter(Boolean).join(" · ");
  }

  #refreshSpot() {
    const element = this.find(".spot");
    element.hidden = !this.spot || !this.picture;
    if (element.hidden) return;
    const { x, y, explanation } = this.spot;
    const [across, down] = drawnPlaceOf(x, y, this.picture, this.look);
    element.style.setProperty("--x", across);
    element.style.setProperty("--y", down);
    element.dataset.side = across > 0.5 ? "left" : "right";
    const shares = explanation ? readSpot(explanation, x, y, this.look.blend) : null;
    const lines = shares?.map(({ label, share }) => [label, share === null ? "no evidence" : `${Math.round(100 * share)} %`]);
    const title = !shares
      ? "reading …"
      : shares.length
        ? "evidence here, of the strongest"
        : "the network does not see this place";
    const rows = [[title, ""], ...(lines ?? [])];
    const text = JSON.stringify(rows);
    if (element.dataset.text === text) return;
    element.dataset.text = text;
    this.find(".reading").replaceChildren(...rows.map(rowElement));
  }

  /** The reading at the marked spot, in one line. */
  get spotText() {
    const rows = [...this.find(".reading").children];
    return rows.map((row) => [...row.children].map((each) => each.textContent).join(" ").trim()).join(", ");
  }

  /** Forgets the picture's memory. */
  close() {
    this.picture?.image.close?.();
    this.picture = null;
    this.element.remove();
  }
}

function rowElement([label, value]) {
  const row = document.createElement("p");
  for (const text of [label, value]) row.append(Object.assign(document.createElement("span"), { textContent: text }));
  return row;
}
