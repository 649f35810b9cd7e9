/** Contour lines of maps: where a class's evidence reaches half of its peak. See live_cam/render/contours.py. */

import { evaluate, placeAxis } from "./spline.js";

const HALF_OF_PEAK = 0.5;
// Points per axis at which the map is sampled.
const POINTS = 65;
// Relative to the picture's shorter side.
const THICKNESS = 1 / 300;
const HALO = "#141414";

/** Returns the thickness of lines in a picture of that size, in pixels. */
export function lineThickness(width, height) {
  return Math.max(1, Math.round(THICKNESS * Math.min(width, height)));
}

/**
 * Draws the contour line of a map, with a dark halo that makes it visible on any background.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./heat.js").Box} box Where the picture lies in the canvas.
 * @param {import("./spline.js").HeatMap} map
 * @param {number[]} regionXywh What the map covers, as fractions of the picture.
 * @param {string} color
 */
export function drawContour(context, box, map, regionXywh, color) {
  const [left, top, width, height] = regionXywh;
  const across = sampled(left, width, map.columns);
  const down = sampled(top, height, map.rows);
  const surface = evaluate(map, down.axis, across.axis);
  const path = new Path2D();
  for (const [from, to] of segments(surface, HALF_OF_PEAK * surface.reduce((a, b) => Math.max(a, b), 0))) {
    const pixel = ([x, y]) => [box.x + box.width * across.place(x), box.y + box.height * down.place(y)];
    path.moveTo(...pixel(from));
    path.lineTo(...pixel(to));
  }
  const thickness = lineThickness(box.width, box.height);
  context.lineCap = "round";
  const strokes = [
    // OpenCV's smooth lines are wider than they are said to be.
    [HALO, 1.5 + thickness + 2 * Math.max(1, Math.floor(thickness / 3))],
    [color, 1 + thickness],
  ];
  for (const [stroke, lineWidth] of strokes) {
    Object.assign(context, { strokeStyle: stroke, lineWidth });
    context.stroke(path);
  }
}

/** Returns points of the visible part of an axis, edge to edge. */
function sampled(start, extent, cellCount) {
  const [first, last] = [Math.max(start, 0), Math.min(start + extent, 1)];
  const place = (point) => first + ((last - first) * point) / (POINTS - 1);
  const positions = Array.from(
    { length: POINTS },
    (_, point) => ((place(point) - start) / extent) * cellCount - 0.5,
  );
  return { place, axis: placeAxis(positions, cellCount, true) };
}

/** Returns the pieces of the line through each square of four points (marching squares): pairs of column and row. */
function segments(surface, level) {
  const pieces = [];
  if (!(level > 0)) return pieces;
  const at = (x, y) => surface[y * POINTS + x] - level;
  for (let y = 0; y < POINTS - 1; y++) {
    for (let x = 0; x < POINTS - 1; x++) {
      const corners = [
        [x, y],
        [x + 1, y],
        [x + 1, y + 1],
        [x, y + 1],
      ];
      const crossings = [];
      corners.forEach((from, index) => {
        const to = corners[(index + 1) % 4];
        const [before, after] = [at(...from), at(...to)];
        if (before >= 0 !== after >= 0) {
          const share = before / (before - after);
          crossings.push([from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]);
        }
      });
      for (let index = 0; index + 1 < crossings.length; index += 2) pieces.push(crossings.slice(index, index + 2));
    }
  }
  return pieces;
}
