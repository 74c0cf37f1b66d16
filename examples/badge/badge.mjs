const UNITS = ["B", "KB", "MB", "GB"];

/**
 * The badge of a preview's candidate: what is known of its dimensions and its size.
 *
 * @param {{width?: number | null, height?: number | null, bytes?: number | null}} candidate
 * @returns {string} such as "1200x800 · 245 KB", "1200w" or "245 KB"; empty where nothing is known
 */
export function badge({ width, height, bytes }) {
  return [dimensions(width, height), size(bytes)].filter((part) => part !== null).join(" · ");
}

function dimensions(width, height) {
  if (width == null) return null;
  return height == null ? `${width}w` : `${width}x${height}`;
}

function size(bytes) {
  if (bytes == null) return null;
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const decimals = unit > 0 && value < 10 ? 1 : 0;
  return `${value.toFixed(decimals).replace(/\.0$/, "")} ${UNITS[unit]}`;
}
