/** Evidence for each class at a clicked place. See live_cam/render/spots.py. */

import { hasEvidence } from "./heat.js";
import { valueAt } from "./spline.js";

/**
 * Reads the value of each map at a place of the frame.
 * @param {import("./frames.js").Explanation} explanation Of the top classes.
 * @param {number} x As a fraction of the frame's width.
 * @param {number} y As a fraction of its height.
 * @param {string} blend
 * @returns {{label: string, share: number | null}[]} Shares of the strongest evidence of all classes; null if a class has
 *   none. Empty if the network did not see the place.
 */
export function readSpot(explanation, x, y, blend) {
  const [left, top, width, height] = explanation.region_xywh;
  const [across, down] = [(x - left) / width, (y - top) / height];
  if (!(across >= 0 && across <= 1 && down >= 0 && down <= 1)) return [];
  return explanation.maps.map(({ label }, index) => {
    const map = explanation.heatMaps[index];
    return { label, share: hasEvidence(map) ? Math.min(valueAt(map, across, down, blend === "heat"), 1) : null };
  });
}
