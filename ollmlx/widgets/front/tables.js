/** Tables that follow the frames of /api/ollmlx/events. */

/** Puts what a frame says into a table by id or name; what is whole replaces it. */
export function take(table, { whole, changed, removed }) {
  if (whole) table.clear();
  for (const key of removed) table.delete(key);
  for (const value of changed) table.set(value.id ?? value.name, value);
}
