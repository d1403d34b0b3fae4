// Which rows of a long list are in sight, with some to spare on both sides. Pure.

/** Rows beyond the edge. Chosen: what a flick of the wheel uncovers. */
const SPARE = 6;

export function range(of: { top: number; height: number; rowHeight: number; count: number }): {
  from: number;
  to: number;
} {
  const from = Math.max(0, Math.floor(of.top / of.rowHeight) - SPARE);
  const to = Math.min(of.count, Math.ceil((of.top + of.height) / of.rowHeight) + SPARE);
  return { from: Math.min(from, of.count), to: Math.max(to, 0) };
}
