/** What keys and buttons do: the window's keys, as far as a page can do it. */

import { request } from "./api.js";
import { explanationOf } from "./frames.js";
import { DETAILS } from "./look.js";
import { saveSnapshot } from "./snapshot.js";
import { VIEWS } from "./views.js";

/** @typedef {import("./tile.js").Tile} Tile */

const SMOOTH_SECONDS = 0.15;
const SAME_SPOT = 0.03;
const MOST_CLASSES = 10;

/** Rows of the key table: keys as they are written, what they do, and the action of each key. */
export const KEY_GROUPS = {
  See: [
    ["h", "show these keys", { h: (app) => app.toggleHelp(), "?": (app) => app.toggleHelp() }],
    ["Enter", "enlarge a picture", {}],
    ["Esc", "back to all pictures", { Escape: (app) => app.back() }],
    ["space", "freeze or continue", { " ": forTile(toggleFreeze) }],
    ["v", "view: overlay, split, grid, heatmap, original", { v: stepLook("view", () => VIEWS) }],
    ["c", "next colormap", { c: stepLook("colormap", (app) => app.status.colormaps) }],
    ["+ -", "opacity", { "+": stepOpacity(1), "=": stepOpacity(1), "-": stepOpacity(-1) }],
    ["s", "smoothing on or off", { s: forTile(toggleSmoothing) }],
    ["i", "figures: few, all, none", { i: stepLook("detail", () => DETAILS) }],
    ["f", "full screen", { f: toggleFullScreen }],
  ],
  Explain: [
    ["n p", "next or previous of the top classes", { n: forTile(stepClass(1)), p: forTile(stepClass(-1)) }],
    ["l", "lock the class or follow the top class", { l: forTile(toggleLock) }],
    ["x", "contrast: none, second class, similar classes", { x: forTile(stepContrast) }],
    ["m", "next method", { m: (app) => changeExplainer(app, "method", nextOf(methodNames(app), app.status.method, 1)) }],
    ["[ ]", "earlier or later layer", { "[": stepLayer(-1), "]": stepLayer(1) }],
    ["click", "how strongly a spot speaks for each of the top classes", {}],
  ],
  Save: [["w", "save the picture and a JSON file", { w: forTile(snapshot) }]],
};

const ACTIONS = Object.assign({}, ...Object.values(KEY_GROUPS).flatMap((rows) => rows.map(([, , actions]) => actions)));

/** Does what a key means. @returns {boolean} Whether it means something. */
export function applyKey(app, key) {
  const action = ACTIONS[key.length === 1 ? key.toLowerCase() : key];
  if (!action || !(app.status || key === "h" || key === "?")) return false;
  action(app);
  return true;
}

/** Returns the element after (1) or before (-1) one of a list, from end to beginning. */
function nextOf(names, name, step) {
  return names[(names.indexOf(name) + step + names.length) % names.length];
}

function forTile(action) {
  return (app) => (app.currentTile ? action(app, app.currentTile) : app.say("Enlarge a picture first."));
}

function stepLook(name, choices) {
  return (app) => {
    const value = nextOf(choices(app), app.look.current[name], 1);
    app.look.change({ [name]: value });
    app.say(`${name === "detail" ? "figures" : name}: ${value}`);
  };
}

function stepOpacity(step) {
  return (app) => {
    const opacity = Math.min(Math.max(Math.round(10 * app.look.current.opacity + step) / 10, 0), 1);
    app.look.change({ opacity });
    app.say(`opacity: ${Math.round(100 * opacity)} %`);
  };
}

/** Fills the screen with the page, or leaves that. */
export async function toggleFullScreen(app) {
  try {
    await (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
  } catch {
    app.say("This browser does not show the page in full screen.");
  }
}

/** Freezes the picture of a tile, or lets it go on. @param {Tile} tile */
export function toggleFreeze(app, tile) {
  tile.isFrozen = !tile.isFrozen && tile.picture !== null;
  tile.spot = tile.isFrozen ? tile.spot : null;
  tile.refresh();
  app.tileChanged(tile);
  app.say(tile.isFrozen ? "frozen" : "live");
}

/**
 * Changes the class, contrast or smoothing of a source, for all who watch it.
 * @param {Tile} tile
 * @param {{target?: number | null, contrast?: string, smooth_seconds?: number}} settings
 * @param {string} notice
 */
export async function changeSource(app, tile, settings, notice) {
  await app.trying(async () => {
    await tile.change(settings);
    app.say(notice);
    app.tileChanged(tile);
    if (tile.isFrozen) await explainAgain(tile);
  });
}

/** Explains a frozen picture with the source's class and contrast. @param {Tile} tile */
export async function explainAgain(tile) {
  const { picture } = tile;
  const { target, contrast } = tile.source.settings;
  const query = new URLSearchParams(target === null ? {} : { target });
  // This device's camera may be frozen before its first explanation.
  const { predictions = [], explained } = picture.explanation ?? {};
  const targetIndex = target ?? predictions[0]?.class_index ?? explained?.class_index;
  const second = predictions.find(({ class_index: index }) => index !== targetIndex);
  if (contrast === "similar" || contrast === "given") query.set("contrast", contrast);
  if (contrast === "second" && second) query.set("contrast", String(second.class_index));
  const answer = await request(`/api/explain?${query}`, { body: await picture.grab() });
  if (tile.picture === picture) tile.explain({ ...explanationOf(answer), is_locked: target !== null });
}

function stepClass(step) {
  return (app, tile) => {
    const { predictions = [], explained } = tile.picture?.explanation ?? {};
    if (!predictions.length) return;
    const index = predictions.findIndex((prediction) => prediction.class_index === explained.class_index);
    // From a class that is not among them, a step forward leads to the first, a step back to the last.
    const position = index >= 0 ? index : step > 0 ? -1 : 0;
    chooseClass(app, tile, predictions[(position + step + predictions.length) % predictions.length]);
  };
}

/** Explains a class from now on. @param {Tile} tile */
export function chooseClass(app, tile, { class_index: target, label }) {
  return changeSource(app, tile, { target }, `explaining ${label}`);
}

/** Locks the class that is explained, or follows the top class again. @param {Tile} tile */
export function toggleLock(app, tile) {
  const explained = tile.picture?.explanation?.explained;
  if (tile.source.settings.target !== null) return changeSource(app, tile, { target: null }, "following the top class");
  if (explained) changeSource(app, tile, { target: explained.class_index }, `locked: ${explained.label}`);
}

/** @param {Tile} tile */
export function toggleSmoothing(app, tile) {
  const seconds = tile.source.settings.smooth_seconds > 0 ? 0 : SMOOTH_SECONDS;
  return changeSource(app, tile, { smooth_seconds: seconds }, seconds ? `smoothing: ${seconds} s` : "no smoothing");
}

/** Returns the contrasts that the picture of a tile can have. @param {Tile | null} tile */
export function contrastsOf(app, tile) {
  const explanation = tile?.picture?.explanation;
  const method = app.status.methods.find(({ name }) => name === app.status.method);
  if (!explanation || method?.has_contrast === false) return ["none"];
  const { predictions, explained } = explanation;
  const hasSecond = predictions.some(({ class_index: index }) => index !== explained.class_index);
  const hasSimilar = explained.probability !== null;
  return ["none", ...(hasSecond ? ["second"] : []), ...(hasSimilar ? ["similar"] : [])];
}

/** Returns the contrast of a source; the command line may have given certain classes. @param {Tile} tile */
export function contrastOf(tile) {
  const { contrast } = tile.source.settings;
  const count = tile.picture?.explanation?.contrast.length ?? 0;
  return contrast === "given" ? ["none", "second"][count] ?? "similar" : contrast;
}

function stepContrast(app, tile) {
  const contrasts = contrastsOf(app, tile);
  if (contrasts.length < 2) return app.say(`${app.status.method} has no contrast`);
  chooseContrast(app, tile, nextOf(contrasts, contrastOf(tile), 1));
}

/** @param {Tile} tile */
export function chooseContrast(app, tile, contrast) {
  const notices = { none: "no contrast", second: "against the second class", similar: "against similar classes" };
  return changeSource(app, tile, { contrast }, notices[contrast]);
}

function methodNames(app) {
  return app.status.methods.map(({ name }) => name);
}

function stepLayer(step) {
  return (app) => {
    const { layers, layer } = app.status;
    const index = layers.includes(layer) ? layers.indexOf(layer) : layers.length;
    const next = layers[index + step];
    if (next === undefined) app.say(step < 0 ? "this is the first layer" : "this is the last layer");
    else changeExplainer(app, "layer", next);
  };
}

/** Changes method or layer for all sources. @param {"method" | "layer"} what */
export async function changeExplainer(app, what, name) {
  if (app.status.preparing) return app.say("One at a time: another method or layer is being prepared.");
  await app.trying(async () => app.takeStatus(await request("/api/settings", { json: { [what]: name } })));
}

/**
 * Reads how strongly a spot of a tile's picture speaks for each of the top classes; the same spot again removes it.
 * @param {Tile} tile
 * @param {number} x As a fraction of the frame's width.
 * @param {number} y As a fraction of its height.
 */
export async function markSpot(app, tile, x, y) {
  const { picture, spot } = tile;
  const isSame = spot && Math.max(Math.abs(spot.x - x), Math.abs(spot.y - y)) < SAME_SPOT;
  tile.spot = isSame || !picture?.explanation ? null : { x, y, explanation: null };
  const marked = tile.spot;
  tile.refresh();
  if (!marked) return;
  const { predictions, explained } = picture.explanation;
  const indices = [...new Set([...predictions, explained].map(({ class_index: index }) => index))];
  await app.trying(async () => {
    try {
      const query = `classes=${indices.slice(0, MOST_CLASSES).join(",")}`;
      marked.explanation = explanationOf(await request(`/api/explain?${query}`, { body: await picture.grab() }));
    } finally {
      if (!marked.explanation && tile.spot === marked) tile.spot = null;
      tile.refresh();
    }
    app.announce(tile.spotText);
  });
}

/** Saves the picture and a JSON file. @param {Tile} tile */
export function snapshot(app, tile) {
  if (!tile.picture) return;
  return app.trying(async () => app.say(`saved ${await saveSnapshot(app.status, tile)}`));
}

