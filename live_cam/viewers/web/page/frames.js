/** The binary messages of the server: a frame as JPEG, with its explanation and its maps. */

/**
 * @typedef {{class_index: number, label: string, probability: number | null, value: number, color?: string}} Prediction
 * @typedef {{predictions: Prediction[], explained: Prediction, is_locked: boolean, is_unsure: boolean,
 *   contrast: Prediction[], region_xywh: number[], map_shape: number[], peak: number, maps: Prediction[],
 *   heatMaps: import("./spline.js").HeatMap[]}} Explanation  `heatMaps` has one for each of `maps`.
 */

const SIZE_BYTES = 4;
const FLOAT_BYTES = 4;

/**
 * Parses one message: uint32 n, n bytes of JSON, the float32 values of all maps, and the JPEG, all little-endian.
 * @param {ArrayBuffer} buffer
 * @returns {{source: string, number: number, width: number, height: number, explanation: Explanation | null,
 *   jpeg: Blob} & Record<string, any>}
 */
export function parseFrame(buffer) {
  const jsonBytes = new DataView(buffer).getUint32(0, true);
  const message = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, SIZE_BYTES, jsonBytes)));
  const start = SIZE_BYTES + jsonBytes;
  const count = message.explanation ? valueCount(message.explanation) : 0;
  const values = new Float32Array(buffer, start, count);
  return {
    ...message,
    explanation: withHeatMaps(message.explanation, values),
    jpeg: new Blob([new Uint8Array(buffer, start + FLOAT_BYTES * count)], { type: "image/jpeg" }),
  };
}

/**
 * Returns the explanation of an answer of /api/explain, whose maps are lists of numbers.
 * @returns {Explanation}
 */
export function explanationOf(answer) {
  const { coefficients, ...explanation } = answer.explanation;
  return withHeatMaps(explanation, Float32Array.from(coefficients.flat(Infinity)));
}

function valueCount({ maps, map_shape: [rows, columns] }) {
  return maps.length * rows * columns;
}

function withHeatMaps(explanation, values) {
  if (!explanation) return null;
  const [rows, columns] = explanation.map_shape;
  const size = rows * columns;
  const heatMaps = explanation.maps.map((_, index) => ({
    values: values.subarray(index * size, (index + 1) * size),
    rows,
    columns,
  }));
  return { ...explanation, heatMaps };
}
