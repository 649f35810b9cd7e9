/** The views of a picture: overlay, split, grid, heatmap, original. See live_cam/render/renderer.py. */

import { drawContour, lineThickness } from "./contours.js";
import { drawHeat } from "./heat.js";
import { scoreText, titleOf } from "./texts.js";

/**
 * @typedef {{image: CanvasImageSource, width: number, height: number,
 *   explanation: import("./frames.js").Explanation | null}} Picture
 * @typedef {{colormap: string, opacity: number, blend: string, view: string, mirror: boolean,
 *   hasLabels?: boolean}} Look  `hasLabels`: whether the pictures of the grid say what they are of.
 */

export const VIEWS = ["overlay", "split", "grid", "heatmap", "original"];

// A class has no contour line if its peak is below this share of what is drawn hottest.
const LEAST_PEAK = 0.05;

/** Returns width and height of a picture as it is drawn: twice as wide for "split". */
export function drawnSize(picture, view) {
  return [picture.width * (view === "split" ? 2 : 1), picture.height];
}

/**
 * Draws a picture onto all of a canvas.
 * @param {HTMLCanvasElement} canvas Its size decides the size of the picture.
 * @param {Picture} picture
 * @param {Look} look
 */
export function drawPicture(canvas, picture, look) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  if (look.view === "grid" && picture.explanation) {
    drawGrid(context, picture, look);
  } else if (look.view === "split") {
    const half = Math.floor(width / 2);
    drawOne(context, { x: 0, y: 0, width: half, height }, picture, { ...look, view: "original" });
    drawOne(context, { x: half, y: 0, width: width - half, height }, picture, look);
    context.fillStyle = "#fff";
    context.fillRect(half - 1, 0, 2, height);
  } else {
    drawOne(context, { x: 0, y: 0, width, height }, picture, look);
  }
}

/** Returns which of the boxes of the view "grid" belong to the classes, row by row. */
export function gridBoxes(classCount, width, height) {
  const columns = Math.max(2, Math.ceil(Math.sqrt(classCount)));
  const rows = Math.ceil(classCount / columns);
  const scale = 1 / Math.max(columns, rows);
  const [boxWidth, boxHeight] = [Math.floor(width * scale), Math.floor(height * scale)];
  const [left, top] = [(width - columns * boxWidth) >> 1, (height - rows * boxHeight) >> 1];
  return Array.from({ length: columns * rows }, (_, index) => ({
    x: left + (index % columns) * boxWidth,
    y: top + Math.floor(index / columns) * boxHeight,
    width: boxWidth,
    height: boxHeight,
  }));
}

/**
 * Returns which place of the frame is drawn at a place of the drawn picture; both as fractions.
 * @returns {[number, number]} Outside of 0 to 1 beside the pictures of the grid.
 */
export function framePlaceOf(x, y, picture, look) {
  [x, y] = [x * picture.width, y * picture.height];
  const box = boxesOf(picture, look).find(
    (each) => x >= each.x && y >= each.y && x < each.x + each.width && y < each.y + each.height,
  );
  if (!box) return [-1, -1];
  const [inside, down] = [(x - box.x) / box.width, (y - box.y) / box.height];
  return [look.mirror ? 1 - inside : inside, down];
}

/** Returns where a place of the frame is drawn: where the heat of the explained class is. Both as fractions. */
export function drawnPlaceOf(x, y, picture, look) {
  const boxes = boxesOf(picture, look);
  const box = boxes[look.view === "split" ? 1 : 0];
  return [
    (box.x + (look.mirror ? 1 - x : x) * box.width) / picture.width,
    (box.y + y * box.height) / picture.height,
  ];
}

function boxesOf({ width, height, explanation }, { view }) {
  if (view === "grid" && explanation) return gridBoxes(explanation.maps.length, width, height);
  const columns = view === "split" ? 2 : 1;
  return Array.from({ length: columns }, (_, index) => ({
    x: (index * width) / columns,
    y: 0,
    width: width / columns,
    height,
  }));
}

/** Draws the heat of each class on its own small picture, and the frame itself into a free place. */
function drawGrid(context, picture, look) {
  const { explanation } = picture;
  const { width, height } = context.canvas;
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  gridBoxes(explanation.maps.length, width, height).forEach((box, index) => {
    if (index > explanation.maps.length) return;
    drawFrame(context, box, picture, look, explanation.heatMaps[index]);
    if (index === explanation.maps.length) return;
    if (explanation.maps.length > 1) {
      context.fillStyle = explanation.maps[index].color;
      context.fillRect(box.x, box.y, box.width, 1 + 2 * lineThickness(box.width, box.height));
    }
    if (look.hasLabels) drawLabel(context, box, explanation, index);
  });
}

/** Says what a picture of the grid is of, bottom left. */
function drawLabel(context, box, explanation, index) {
  const name = index === 0 ? titleOf(explanation) : explanation.maps[index].label;
  const size = Math.max(12, Math.round(0.07 * box.height));
  context.font = `600 ${size}px system-ui, sans-serif`;
  const text = `${name}  ${scoreText(explanation.maps[index])}`;
  const width = Math.min(context.measureText(text).width + size, box.width);
  context.fillStyle = "rgb(0 0 0 / 60%)";
  context.fillRect(box.x, box.y + box.height - 1.7 * size, width, 1.7 * size);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, box.x + 0.5 * size, box.y + box.height - 0.85 * size, box.width - size);
}

/** Draws heat for one class, contour lines for several. */
function drawOne(context, box, picture, look) {
  const heatMaps = look.view === "original" ? [] : (picture.explanation?.heatMaps ?? []);
  const hasContours = heatMaps.length > 1;
  const heated = hasContours && look.view !== "heatmap" ? undefined : heatMaps[0];
  drawFrame(context, box, picture, look, heated);
  if (!hasContours) return;
  context.save();
  clipTo(context, box, look.mirror);
  // The explained class last: it lies on top.
  for (let index = heatMaps.length - 1; index >= 0; index--) {
    const peak = heatMaps[index].values.reduce((a, b) => Math.max(a, b), 0);
    if (peak < LEAST_PEAK) continue;
    const { maps, region_xywh: region } = picture.explanation;
    drawContour(context, box, heatMaps[index], region, maps[index].color);
  }
  context.restore();
}

/** Draws the frame, or black for the view "heatmap", and the heat of one map over it. */
function drawFrame(context, box, picture, look, heatMap) {
  const isAlone = look.view === "heatmap";
  context.save();
  clipTo(context, box, look.mirror);
  if (isAlone) {
    context.fillStyle = "#000";
    context.fillRect(box.x, box.y, box.width, box.height);
  } else {
    context.imageSmoothingQuality = box.width < picture.width / 2 ? "medium" : "low";
    context.drawImage(picture.image, box.x, box.y, box.width, box.height);
  }
  if (heatMap) {
    const heatLook = isAlone ? { ...look, opacity: 1, blend: "constant" } : look;
    drawHeat(context, box, heatMap, picture.explanation.region_xywh, heatLook, look.blend === "heat");
  }
  context.restore();
}

/** Keeps what is drawn inside the box, and flips it if need be. */
function clipTo(context, box, isMirrored) {
  context.beginPath();
  context.rect(box.x, box.y, box.width, box.height);
  context.clip();
  if (isMirrored) {
    context.translate(2 * box.x + box.width, 0);
    context.scale(-1, 1);
  }
}
