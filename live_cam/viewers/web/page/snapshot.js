/** Saves a picture as it is drawn, and a JSON file of the same name: as the window's key w does. */

import { request } from "./api.js";
import { notesOf, scoreText, titleOf } from "./texts.js";
import { drawPicture, drawnSize } from "./views.js";

/**
 * Lets the browser save both files.
 * @param {object} status The server's.
 * @param {import("./tile.js").Tile} tile
 * @returns {Promise<string>} The picture's name.
 */
export async function saveSnapshot(status, tile) {
  const { picture, look } = tile;
  const [width, height] = drawnSize(picture, look.view);
  const canvas = new OffscreenCanvas(width, height);
  drawPicture(canvas, picture, { ...look, hasLabels: true });
  if (picture.explanation && look.view !== "grid") drawCaption(canvas, picture.explanation);
  const name = `livecam-${timeOf(new Date())}`;
  const [png, heatmap] = await Promise.all([canvas.convertToBlob({ type: "image/png" }), heatmapOf(picture)]);
  save(png, `${name}.png`);
  const facts = { picture: `${name}.png`, ...factsOf(status, tile, picture, look), heatmap };
  save(new Blob([`${JSON.stringify(facts, null, 1)}\n`], { type: "application/json" }), `${name}.json`);
  return `${name}.png`;
}

function timeOf(date) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("");
  return `${day}-${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join("")}`;
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function factsOf(status, tile, { explanation, info }, look) {
  const facts = {
    source: tile.source.name,
    model: status.model,
    method: status.method,
    layer: status.layer,
    engine: status.engine,
    precision: status.precision,
  };
  const { view, colormap, opacity } = look;
  if (!explanation) return { ...facts, view, colormap, opacity };
  const labels = explanation.contrast.map(({ label }) => label);
  return {
    ...facts,
    contrast: labels.length > 1 ? labels : (labels[0] ?? null),
    view,
    colormap,
    opacity,
    index: info.index ?? null,
    time_seconds: info.time_seconds ?? null,
    predictions: explanation.predictions.map(factOf),
    explained: factOf(explanation.explained),
  };
}

function factOf({ class_index, label, probability, value }) {
  return { class_index, label, probability, ...(probability === null ? { value } : {}) };
}

/** Returns where the evidence lies, as in the sidecar: of the picture itself, without smoothing over time. */
async function heatmapOf({ explanation, grab }) {
  if (!explanation) return null;
  const query = new URLSearchParams({ target: explanation.explained.class_index });
  if (explanation.contrast.length === 1) query.set("contrast", explanation.contrast[0].class_index);
  if (explanation.contrast.length > 1) query.set("contrast", "similar");
  try {
    const answer = await request(`/api/explain?${query}`, { body: await grab() });
    return summaryOf(answer.explanation.heatmap, answer.explanation.region_xywh);
  } catch {
    return null; // The picture is worth saving without a server, too.
  }
}

/** Returns the same as heatmap_summary in live_cam/sinks/sidecar.py. */
export function summaryOf(rows, [left, top, width, height]) {
  const values = rows.flat(); // null where a value is not finite, which counts as 0 below
  const peak = Math.max(0, ...values);
  const hotCount = values.filter((value) => value >= peak / 2).length;
  const [across, down] = [cellsOf(left, width, rows[0].length), cellsOf(top, height, rows.length)];
  const sum = { x: 0, y: 0, weight: 0 };
  rows.forEach((row, y) =>
    row.forEach((value, x) => {
      const weight = value * across[x].inside * down[y].inside;
      sum.x += weight * across[x].center;
      sum.y += weight * down[y].center;
      sum.weight += weight;
    }),
  );
  const rounded = (number) => Math.round(1e6 * number) / 1e6;
  return {
    peak: Number(peak.toPrecision(6)),
    area_above_half: peak > 0 ? rounded(hotCount / values.length) : 0,
    centroid_xy: sum.weight > 0 ? [rounded(sum.x / sum.weight), rounded(sum.y / sum.weight)] : null,
  };
}

function cellsOf(start, extent, count) {
  const edge = (index) => Math.min(Math.max(start + (extent * index) / count, 0), 1);
  return Array.from({ length: count }, (_, index) => ({
    center: (edge(index) + edge(index + 1)) / 2,
    inside: ((edge(index + 1) - edge(index)) * count) / extent,
  }));
}

/** Draws the class and its score, bottom left. */
function drawCaption(canvas, explanation) {
  const context = canvas.getContext("2d");
  const size = Math.round(10 + 0.02 * Math.min(canvas.width, canvas.height));
  const lines = [`${titleOf(explanation)}  ${scoreText(explanation.explained)}`, ...notesOf(explanation)];
  const fonts = lines.map((_, index) => `${index ? 500 : 600} ${index ? 0.78 * size : size}px system-ui, sans-serif`);
  const widths = lines.map((line, index) => {
    context.font = fonts[index];
    return context.measureText(line).width;
  });
  const [padding, lineHeight] = [0.5 * size, 1.35 * size];
  const height = lines.length * lineHeight + padding;
  const top = canvas.height - height - padding;
  context.fillStyle = "rgb(0 0 0 / 60%)";
  context.beginPath();
  context.roundRect(padding, top, Math.max(...widths) + 2 * padding, height, 0.35 * size);
  context.fill();
  context.textBaseline = "middle";
  lines.forEach((line, index) => {
    context.font = fonts[index];
    context.fillStyle = index ? "#cdcdcd" : "#fff";
    context.fillText(line, 2 * padding, top + padding / 2 + (index + 0.5) * lineHeight);
  });
}
