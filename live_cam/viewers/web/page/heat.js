/**
 * Draws a map over a picture as live_cam/render/overlay.py does.
 *
 * The map is enlarged to a layer of colors with opacities, which the canvas then enlarges further and blends. That needs
 * no WebGL, of which browsers allow few contexts, and it is a small part of the time that decoding a picture takes.
 */

import { pixelsByHeat } from "./colormaps.js";
import { evaluate, placeAxis } from "./spline.js";

/**
 * @typedef {import("./spline.js").HeatMap} HeatMap
 * @typedef {{x: number, y: number, width: number, height: number}} Box  In pixels.
 */

// Points of the layer along one cell of the map, and along one side of the layer at most. Between them, the canvas
// interpolates colors, which few colormaps turn into by more than a level or two.
const POINTS_PER_CELL = 40;
const MOST_POINTS = 512;

const layer = new OffscreenCanvas(1, 1);
const layerContext = layer.getContext("2d");
/** @type {ImageData | null} */
let layerImage = null;

/** @type {Map<string, {first: number, last: number, axis: import("./spline.js").Axis}>} */
const places = new Map();

/**
 * Draws one map; nothing if it has no evidence.
 * @param {CanvasRenderingContext2D} context
 * @param {Box} box Where the picture lies in the canvas.
 * @param {HeatMap} map
 * @param {number[]} regionXywh What the map covers, as fractions of the picture.
 * @param {{colormap: string, opacity: number, blend: string}} look
 * @param {boolean} isSmooth Whether to draw a B-spline instead of linear interpolation.
 */
export function drawHeat(context, box, map, regionXywh, look, isSmooth = look.blend === "heat") {
  const pixels = pixelsByHeat(look);
  const [left, top, width, height] = regionXywh;
  const across = place(box.width, left, width, map.columns, isSmooth);
  const down = place(box.height, top, height, map.rows, isSmooth);
  if (!pixels || !hasEvidence(map) || !across.axis.count || !down.axis.count) return;
  if (layerImage?.width !== across.axis.count || layerImage.height !== down.axis.count) {
    [layer.width, layer.height] = [across.axis.count, down.axis.count];
    layerImage = layerContext.createImageData(layer.width, layer.height);
  }
  const surface = evaluate(map, down.axis, across.axis);
  const painted = new Uint32Array(layerImage.data.buffer);
  const rounding = look.blend === "heat" ? 0.5 : 0;
  for (let index = 0; index < surface.length; index++) {
    const heat = surface[index];
    painted[index] = pixels[heat >= 1 ? 255 : heat <= 0 ? 0 : (255 * heat + rounding) | 0];
  }
  layerContext.putImageData(layerImage, 0, 0);
  context.imageSmoothingQuality = "low"; // Linear; better ones would smooth twice.
  const [x, y] = [box.x + across.first, box.y + down.first];
  context.drawImage(layer, x, y, across.last - across.first, down.last - down.first);
}

/** Returns whether a map has a positive value. @param {HeatMap} map */
export function hasEvidence(map) {
  return map.values.some((value) => value > 0);
}

/**
 * Returns the pixels of an axis that lie under the map, and the points of the layer that is drawn over them.
 * Pixel i has its center at i + 1/2; see live_cam/render/heatmap_alignment.py.
 */
function place(pixelCount, start, extent, cellCount, isSmooth) {
  const key = [pixelCount, start, extent, cellCount, isSmooth].join();
  if (!places.has(key)) {
    const [edge, length] = [start * pixelCount, extent * pixelCount];
    const first = Math.min(Math.max(Math.ceil(edge - 0.5), 0), pixelCount);
    const last = Math.min(Math.max(Math.ceil(edge + length - 0.5), first), pixelCount);
    const visibleCells = ((last - first) / length) * cellCount;
    const count = Math.min(last - first, MOST_POINTS, Math.ceil(POINTS_PER_CELL * visibleCells));
    const step = (last - first) / count;
    const positions = Array.from(
      { length: count },
      (_, point) => ((first + (point + 0.5) * step - edge) / length) * cellCount - 0.5,
    );
    if (places.size > 200) places.clear();
    places.set(key, { first, last, axis: placeAxis(positions, cellCount, isSmooth) });
  }
  return places.get(key);
}
