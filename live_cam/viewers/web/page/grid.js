/** How tiles are laid out. */

const GAP_PX = 12;
// A narrower tile shows nothing; then the page is scrolled.
const NARROWEST_PX = 240;

/** Returns how many columns make tiles of that ratio (width by height) as large as possible. */
export function columnsFor(count, width, height, ratio) {
  let best = { columns: 1, tile: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const [tileWidth, tileHeight] = [width - GAP_PX * (columns - 1), height - GAP_PX * (rows - 1)];
    const tile = Math.min(tileWidth / columns, (tileHeight / rows) * ratio);
    if (tile > best.tile) best = { columns, tile };
  }
  return best.tile < NARROWEST_PX ? Math.max(1, Math.floor(width / NARROWEST_PX)) : best.columns;
}

/** Returns the number in the middle; 4 / 3 of none. */
export function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 4 / 3;
}
