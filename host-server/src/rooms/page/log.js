// What is known of one chat's messages: rows in the order of their ids, without holes and without
// doubles, however they came (live, as notifications, as pages of history).

/** The server gives at most so many rows at once (`get-chat-messages`). */
export const PAGE = 1000;

/** As other dialects and the history see an image. */
const IMAGE = /^\[image: (.*), (image\/[a-z]+), (\d+)[^\]]*\]$/su;

/** An image's name, type and size from its text in a list, or null. */
export function imageOf(text) {
  const match = IMAGE.exec(text);
  return match && { name: match[1], type: match[2], size: Number(match[3]) };
}

/** The row of an object of `chat-messages`. */
export function rowOf(object) {
  const { message_id: id, username, message_date: date, message_text: text } = object;
  const image = object.image === true ? (imageOf(text) ?? { name: "", type: "", size: 0 }) : null;
  return { id, username, date, text, image };
}

export class Log {
  /** Ascending by id. */
  rows = [];
  /** Whether there is anything before the first row: null until the server was asked. */
  older = null;
  /** The last row before a time in which rows may have been missed; null when nothing was. */
  #sure = 0;

  get first() {
    return this.rows[0]?.id ?? 0;
  }

  get last() {
    return this.rows.at(-1)?.id ?? 0;
  }

  /** From now on rows may be missed, until the newest page is merged. */
  suspend() {
    this.#sure ??= this.last;
  }

  /** Whether the newest page must be asked for. */
  get suspended() {
    return this.#sure !== null;
  }

  /** Puts one row in its place; its index, or -1 if it was there already. */
  add(row) {
    let at = this.rows.length;
    while (at > 0 && this.rows[at - 1].id > row.id) at -= 1;
    if (at > 0 && this.rows[at - 1].id === row.id) {
      // A picture that came with its message is not forgotten for a list's line.
      if (row.data) this.rows[at - 1].data = row.data;
      return -1;
    }
    this.rows.splice(at, 0, row);
    return at;
  }

  /**
   * Merges the newest page. True if rows were dropped: more was missed than a page, so that what
   * was known before is not next to it any more; it is still there as older pages.
   */
  newest(page) {
    const sure = this.#sure ?? this.last;
    const gap = page.length >= PAGE && sure > 0 && page[0].id > sure;
    if (gap) this.rows = this.rows.filter((row) => row.id > sure);
    // Live rows of a time when all older ones were still to come are kept beside the page.
    const begins = this.rows.length === 0 || gap || page.length === 0;
    if (this.older === null || begins || page[0].id <= this.first) {
      this.older = page.length >= PAGE;
    }
    this.#merge(page);
    this.#sure = null;
    return gap;
  }

  /** Merges the page that ends with the first row. */
  previous(page) {
    if (page.at(-1)?.id !== this.first) return;
    this.older = page.length >= PAGE;
    this.#merge(page);
  }

  /** Forgets all: the server knows nothing of it any more. */
  forget() {
    this.rows = [];
    this.older = null;
    this.#sure = 0;
  }

  /** Forgets all but the newest rows. */
  trim(keep = PAGE) {
    if (this.rows.length <= keep) return;
    this.rows = this.rows.slice(-keep);
    this.older = true;
  }

  #merge(page) {
    const byId = new Map(page.map((row) => [row.id, row]));
    for (const row of this.rows) byId.set(row.id, row);
    this.rows = [...byId.values()].sort((a, b) => a.id - b.id);
  }
}
