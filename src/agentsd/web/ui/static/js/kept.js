// Lists that are kept in this browser and nowhere else.

/**
 * Bounds and form of a list.
 * @typedef {object} Rules
 * @property {number} most entries
 * @property {number} characters of all entries as JSON
 * @property {(one: any) => boolean} isSound whether a page can show an entry: another version of the page may have
 * kept another form
 * @property {(one: any, fits: (one: any) => boolean) => any} shorten returns an entry that alone is too long, shorter
 */

/** A list of one token, for several people may have one of the same owner. Each entry has an `id`. */
export class KeptList {
  /**
   * @param {string} key
   * @param {Rules} rules
   */
  constructor(key, rules) {
    this.key = key;
    this.rules = rules;
  }

  /** @returns {any[]} all entries in their order */
  all() {
    try {
      const found = JSON.parse(localStorage.getItem(this.key) ?? "[]");
      return Array.isArray(found) ? found.filter(this.rules.isSound) : [];
    } catch {
      return [];
    }
  }

  /** The entry with that id, or null. */
  find(id) { return this.all().find((one) => one.id === id) ?? null; }

  /** Keep an entry as it is now, before all others. False: the browser keeps nothing. */
  save(entry) { return this.write([entry, ...this.all().filter((one) => one.id !== entry.id)]); }

  /** Forget it. */
  remove(id) { return this.write(this.all().filter((one) => one.id !== id)); }

  write(entries) {
    const { most, characters, shorten } = this.rules;
    const fits = (value) => JSON.stringify(value).length <= characters;
    const kept = entries.slice(0, most);
    while (kept.length > 1 && !fits(kept)) kept.pop();
    if (kept.length === 1) kept[0] = shorten(kept[0], fits);
    try {
      localStorage.setItem(this.key, JSON.stringify(kept));
      return true;
    } catch {
      return false;
    }
  }
}

/** Return an id for an entry. */
export function newEntryId() {
  const random = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(random, (byte) => byte.toString(36).padStart(2, "0")).join("");
}
