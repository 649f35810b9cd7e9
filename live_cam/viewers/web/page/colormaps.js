/** The color tables of the server's colormaps, and what each heat does to a pixel. */

import { request } from "./api.js";

/** @type {Record<string, {heat: Uint8Array, full: Uint8Array}>} 256 RGB colors each, coldest first. */
let tables = {};
let visibleHeat = [0.15, 0.85];
const pixelTables = new Map();

/** Returns whether the color tables are there. */
export function hasColormaps() {
  return Object.keys(tables).length > 0;
}

/** Fetches the color tables. */
export async function loadColormaps() {
  useColormaps(await request("/api/colormaps"));
}

/**
 * Takes the color tables from the server's answer.
 * @param {{colormaps: Record<string, {heat: string, full: string}>, visible_heat: number[]}} answer Base64.
 */
export function useColormaps(answer) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  tables = Object.fromEntries(
    Object.entries(answer.colormaps).map(([name, { heat, full }]) => [name, { heat: bytes(heat), full: bytes(full) }]),
  );
  visibleHeat = answer.visible_heat;
  pixelTables.clear();
}

/**
 * Returns 256 pixels as canvases store them (RGBA bytes in one number), by heat; null while there are no color tables.
 *
 * With the blend "heat" a pixel's opacity rises from 0 at a heat of 0.15 to `opacity` at 0.85, as in
 * live_cam/render/overlay.py; with "constant" it is the same for all.
 * @param {{colormap: string, opacity: number, blend: string}} look
 * @returns {Uint32Array | null}
 */
export function pixelsByHeat({ colormap, opacity, blend }) {
  const table = tables[colormap];
  if (!table) return null;
  const key = `${colormap} ${opacity} ${blend}`;
  if (!pixelTables.has(key)) {
    if (pixelTables.size > 50) pixelTables.clear();
    pixelTables.set(key, pixelTable(blend === "heat" ? table.heat : table.full, opacity, blend));
  }
  return pixelTables.get(key);
}

function pixelTable(colors, opacity, blend) {
  const [coldest, hottest] = visibleHeat;
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let index = 0; index < 256; index++) {
    const rise = Math.min(Math.max((index / 255 - coldest) / (hottest - coldest), 0), 1);
    const weight = blend === "heat" ? opacity * rise * rise * (3 - 2 * rise) : opacity;
    bytes.set([...colors.slice(3 * index, 3 * index + 3), 255 * weight], 4 * index);
  }
  return new Uint32Array(bytes.buffer);
}

/**
 * Draws a colormap from left (weak) to right (strong).
 * @param {HTMLCanvasElement} canvas
 * @param {{colormap: string, blend: string, view: string}} look
 */
export function drawLegend(canvas, look) {
  const blend = look.view === "heatmap" ? "constant" : look.blend;
  const table = tables[look.colormap]?.[blend === "heat" ? "heat" : "full"];
  if (!table) return;
  canvas.width = 256;
  canvas.height = 1;
  const image = new ImageData(256, 1);
  for (let index = 0; index < 256; index++) {
    image.data.set([...table.subarray(3 * index, 3 * index + 3), 255], 4 * index);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
