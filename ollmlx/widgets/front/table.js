/** Tables that the server's stream of changes keeps up to date. */

export class Table {
  /** `key` is the field that names a row. */
  constructor(key) {
    this.key = key;
    this.rows = new Map();
  }

  /** Takes an event: all there is when `whole`, else what is changed and removed. */
  take({ whole, changed, removed }) {
    if (whole) this.rows.clear();
    for (const key of removed) this.rows.delete(key);
    for (const row of changed) this.rows.set(row[this.key], row);
  }

  get all() {
    return [...this.rows.values()];
  }
}
