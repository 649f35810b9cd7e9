/** The last minutes of the top classes' probabilities. */

import { durationText, scoreText, setText } from "./texts.js";

const KEPT_SECONDS = 300;
const SHORTEST_SECONDS = 60;
const SAMPLE_SECONDS = 0.25;
// Without a sample for so long, the line is interrupted.
const GAP_SECONDS = 2;
const SHOWN_CLASSES = 4;
// As in live_cam/render/colormaps.py.
const COLORS = ["#f08200", "#2896e6", "#28be73", "#d26ec8", "#f0e442"];
const PADDING = { top: 6, right: 4, bottom: 18, left: 42 };

/** The probabilities of one source. */
export class History {
  /** @type {{seconds: number, predictions: import("./frames.js").Prediction[]}[]} */
  samples = [];
  #colors = new Map();

  /** Adds the predictions of a frame that is shown now. */
  add(predictions) {
    const seconds = performance.now() / 1000;
    if (seconds - (this.samples.at(-1)?.seconds ?? -1) < SAMPLE_SECONDS) return;
    this.samples.push({ seconds, predictions });
    while (seconds - this.samples[0].seconds > KEPT_SECONDS) this.samples.shift();
  }

  /** Returns the classes that were the most probable since then, each with a color that it keeps. */
  classes(sinceSeconds) {
    const sums = new Map();
    for (const { seconds, predictions } of this.samples) {
      if (seconds < sinceSeconds) continue;
      for (const { class_index: index, label, probability } of predictions) {
        const sum = sums.get(index)?.sum ?? 0;
        sums.set(index, { index, label, sum: sum + (probability ?? 0) });
      }
    }
    const best = [...sums.values()].sort((a, b) => b.sum - a.sum).slice(0, SHOWN_CLASSES);
    const kept = best.filter(({ index }) => this.#colors.has(index));
    this.#colors = new Map(kept.map(({ index }) => [index, this.#colors.get(index)]));
    for (const { index } of best) {
      const free = COLORS.find((color) => ![...this.#colors.values()].includes(color));
      if (!this.#colors.has(index)) this.#colors.set(index, free);
    }
    return best.map((each) => ({ ...each, color: this.#colors.get(each.index) }));
  }
}

export class Timeline {
  #canvas;
  #list;
  #history = null;
  /** How long ago the time is whose values are read; 0 is now. */
  #agoSeconds = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} list Where the values at the cursor are written.
   */
  constructor(canvas, list) {
    this.#canvas = canvas;
    this.#list = list;
    const follow = (ago) => {
      this.#agoSeconds = Math.min(Math.max(ago, 0), this.#span);
      this.draw(this.#history);
    };
    canvas.addEventListener("pointermove", ({ offsetX }) => follow(this.#agoAt(offsetX)));
    canvas.addEventListener("pointerleave", () => follow(0));
    canvas.addEventListener("blur", () => follow(0));
    canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: 1, ArrowRight: -1, PageUp: 10, PageDown: -10, Home: Infinity, End: -Infinity };
      if (!(event.key in steps)) return;
      event.preventDefault();
      event.stopPropagation();
      follow(this.#agoSeconds + (steps[event.key] * this.#span) / 60);
    });
  }

  get #span() {
    const first = this.#history?.samples[0]?.seconds ?? Infinity;
    return Math.min(Math.max(performance.now() / 1000 - first, SHORTEST_SECONDS), KEPT_SECONDS);
  }

  #agoAt(x) {
    const width = this.#canvas.clientWidth - PADDING.left - PADDING.right;
    return (1 - (x - PADDING.left) / width) * this.#span;
  }

  /** Draws the history of a source. @param {History | null} history */
  draw(history) {
    this.#history = history;
    const canvas = this.#canvas;
    if (!history || !canvas.clientWidth) return;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    const context = canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    const style = getComputedStyle(canvas);
    const now = performance.now() / 1000;
    const inner = { width: width - PADDING.left - PADDING.right, height: height - PADDING.top - PADDING.bottom };
    const x = (seconds) => PADDING.left + inner.width * (1 - (now - seconds) / this.#span);
    const classes = history.classes(now - this.#span);
    const top = topOf(history.samples, classes);
    const y = (probability) => PADDING.top + inner.height * (1 - probability / top);
    this.#drawAxes(context, style, x, y, now, top);
    context.lineWidth = 2;
    context.lineJoin = "round";
    for (const { index, color } of classes.toReversed()) {
      context.strokeStyle = color;
      context.beginPath();
      let before = -Infinity;
      for (const { seconds, predictions } of history.samples) {
        const probability = probabilityOf(predictions, index) ?? 0;
        if (seconds - before > GAP_SECONDS) context.moveTo(x(seconds), y(probability));
        else context.lineTo(x(seconds), y(probability));
        before = seconds;
      }
      context.stroke();
    }
    this.#write(classes, now);
  }

  #drawAxes(context, style, x, y, now, top) {
    const [line, text] = [style.getPropertyValue("--line"), style.getPropertyValue("--dim")];
    const span = this.#span;
    context.font = `11px ${style.fontFamily}`;
    context.fillStyle = text;
    context.strokeStyle = line;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const share of [0, top / 2, top]) {
      context.fillText(`${100 * share} %`, PADDING.left - 6, y(share));
      context.beginPath();
      context.moveTo(x(now - span), Math.round(y(share)) + 0.5);
      context.lineTo(x(now), Math.round(y(share)) + 0.5);
      context.stroke();
    }
    context.textBaseline = "bottom";
    context.fillText("now", x(now), y(0) + PADDING.bottom);
    context.textAlign = "left";
    context.fillText(`${durationText(span)} ago`, x(now - span), y(0) + PADDING.bottom);
    if (this.#agoSeconds > 0) {
      context.fillStyle = style.getPropertyValue("--accent");
      context.fillRect(x(now - this.#agoSeconds) - 0.5, y(top), 1, y(0) - y(top));
    }
  }

  /** Writes the values at the cursor. */
  #write(classes, now) {
    const wanted = now - this.#agoSeconds;
    const sample = this.#history.samples.findLast(({ seconds }) => seconds <= wanted);
    const isThere = sample && wanted - sample.seconds < GAP_SECONDS;
    const values = classes.map(({ index, label, color }) => {
      const probability = isThere ? probabilityOf(sample.predictions, index) : null;
      return { label, color, text: probability === null ? "–" : scoreText({ probability, value: 0 }) };
    });
    while (this.#list.childElementCount > values.length) this.#list.lastElementChild.remove();
    while (this.#list.childElementCount < values.length) {
      const item = document.createElement("li");
      item.append(...["i", "span", "b"].map((name) => document.createElement(name)));
      this.#list.append(item);
    }
    values.forEach(({ label, color, text }, index) => {
      const [swatch, name, value] = this.#list.children[index].children;
      swatch.style.backgroundColor = color;
      setText(name, label);
      setText(value, text);
    });
    const time = this.#agoSeconds < 1 ? "now" : `${durationText(this.#agoSeconds)} ago`;
    const canvas = this.#canvas;
    canvas.setAttribute("aria-valuemin", "-300");
    canvas.setAttribute("aria-valuemax", "0");
    canvas.setAttribute("aria-valuenow", String(-Math.round(this.#agoSeconds)));
    canvas.setAttribute("aria-valuetext", `${time}: ${values.map((each) => `${each.label} ${each.text}`).join(", ")}`);
  }
}

/** Returns the highest probability of the axis: lower ones are drawn larger. */
function topOf(samples, classes) {
  const shown = samples.flatMap(({ predictions }) => classes.map(({ index }) => probabilityOf(predictions, index) ?? 0));
  const highest = shown.reduce((a, b) => Math.max(a, b), 0);
  return [0.1, 0.2, 0.5].find((top) => highest < top) ?? 1;
}

function probabilityOf(predictions, index) {
  return predictions.find((prediction) => prediction.class_index === index)?.probability ?? null;
}
