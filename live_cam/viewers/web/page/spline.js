/**
 * Enlarging a small map: a uniform cubic B-spline, as live_cam/render/spline.py draws it, or linear interpolation.
 *
 * @typedef {{values: Float32Array, rows: number, columns: number}} HeatMap  Row by row; 1 is drawn hottest.
 * @typedef {{count: number, cells: Int32Array, weights: Float32Array}} Axis  For each of `count` points along one axis:
 *   four cells of the map, and how much each of them counts.
 */

const TAPS = 4;

/**
 * Returns the cells that count at points along one axis.
 * @param {ArrayLike<number>} positions In cells; 0 is the center of the first. Beyond the border, cells repeat.
 * @param {number} cellCount
 * @param {boolean} isSmooth Whether to use the B-spline (de Boor 1978) instead of linear interpolation.
 * @returns {Axis}
 */
export function placeAxis(positions, cellCount, isSmooth) {
  const count = positions.length;
  const cells = new Int32Array(TAPS * count);
  const weights = new Float32Array(TAPS * count);
  for (let point = 0; point < count; point++) {
    const first = Math.floor(positions[point]);
    const after = positions[point] - first;
    const before = 1 - after;
    const shares = isSmooth
      ? [
          before ** 3 / 6,
          (3 * after ** 3 - 6 * after ** 2 + 4) / 6,
          (3 * before ** 3 - 6 * before ** 2 + 4) / 6,
          after ** 3 / 6,
        ]
      : [0, before, after, 0];
    for (let tap = 0; tap < TAPS; tap++) {
      cells[TAPS * point + tap] = Math.min(Math.max(first - 1 + tap, 0), cellCount - 1);
      weights[TAPS * point + tap] = shares[tap];
    }
  }
  return { count, cells, weights };
}

/**
 * Returns the enlarged map at a grid of points, row by row.
 * @param {HeatMap} map
 * @param {Axis} down
 * @param {Axis} across
 */
export function evaluate(map, down, across) {
  const surface = new Float32Array(down.count * across.count);
  const row = new Float32Array(map.columns);
  for (let y = 0, out = 0; y < down.count; y++) {
    row.fill(0);
    for (let tap = TAPS * y; tap < TAPS * (y + 1); tap++) {
      const start = down.cells[tap] * map.columns;
      const weight = down.weights[tap];
      for (let column = 0; column < map.columns; column++) row[column] += weight * map.values[start + column];
    }
    for (let x = 0, tap = 0; x < across.count; x++, tap += TAPS) {
      const { cells, weights } = across;
      surface[out++] =
        weights[tap] * row[cells[tap]] +
        weights[tap + 1] * row[cells[tap + 1]] +
        weights[tap + 2] * row[cells[tap + 2]] +
        weights[tap + 3] * row[cells[tap + 3]];
    }
  }
  return surface;
}

/**
 * Returns the value at one place.
 * @param {HeatMap} map
 * @param {number} x As a fraction of the map's width.
 * @param {number} y As a fraction of its height.
 * @param {boolean} isSmooth As for `placeAxis`.
 */
export function valueAt(map, x, y, isSmooth) {
  const down = placeAxis([y * map.rows - 0.5], map.rows, isSmooth);
  const across = placeAxis([x * map.columns - 0.5], map.columns, isSmooth);
  return evaluate(map, down, across)[0];
}
