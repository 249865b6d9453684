// What a person sends, until the server has said that it keeps it: one thing at a time, so that an
// answer without a name belongs to it. What breaks off on the way is looked for in the history,
// and waits for the person if it is not there: never lost, and never sent twice unasked.

/**
 * States of an item: `waiting` for its turn or a connection, `sending`, `unsure` after a break (the
 * history will tell), `failed` (the person decides).
 */
export class Outgoing {
  #items = [];
  /** Answers repeat an item's tag; each tab begins elsewhere, as each sees the others' answers. */
  #next = 1 + Math.floor(Math.random() * 2 ** 30);

  /** `content` is { text } or { image: { name, type, data } }. */
  add(key, content) {
    const item = { tag: this.#next++, key, ...content, state: "waiting", reason: "" };
    item.after = 0;
    item.shown = false;
    this.#items.push(item);
    return item;
  }

  /** Texts that a page before this had not sent, as `{ key, text, state, after }`. */
  restore(entries) {
    for (const { key, text, state, after } of entries) {
      const item = this.add(String(key), { text: String(text) });
      item.after = Number(after) || 0;
      if (state === "sending" || state === "unsure") item.state = "unsure";
      else fail(item, "The page was closed before it was sent.");
    }
  }

  of(key) {
    return this.#items.filter((item) => item.key === key);
  }

  get all() {
    return [...this.#items];
  }

  get sending() {
    return this.#items.find((item) => item.state === "sending") ?? null;
  }

  /** What to send next in one of these chats, if nothing is under way. */
  next(keys) {
    if (this.sending) return null;
    // An unsure one keeps its place: what was written behind it comes behind it.
    const held = new Set();
    for (const item of this.#items) {
      if (item.state === "unsure") held.add(item.key);
      if (item.state === "waiting" && keys.has(item.key) && !held.has(item.key)) return item;
    }
    return null;
  }

  /** It is given to the connection; `after` is the last message id that was known then. */
  begin(item, after) {
    item.state = "sending";
    item.after = after;
    item.shown = false;
  }

  /** A message of the person's own came: whether it is the one under way, which is shown now. */
  echo(key, row) {
    const item = this.sending;
    if (!item || item.shown || item.key !== key || !same(item, row)) return false;
    item.shown = true;
    return true;
  }

  /** The server's answer to what is under way; gives the item, which is gone if it was kept. */
  answer(status, reason) {
    const item = this.sending;
    if (!item) return null;
    if (status === 1) this.remove(item);
    else fail(item, reason);
    return item;
  }

  /** The connection is gone, or no answer came. */
  broken() {
    const item = this.sending;
    if (item) item.state = "unsure";
  }

  /** The newest history of a chat, of which `own` are the rows of this user, tells what arrived. */
  settle(key, own) {
    const used = new Set();
    for (const item of this.of(key)) {
      if (item.state !== "unsure") continue;
      const found = own.find((row) => row.id > item.after && !used.has(row.id) && same(item, row));
      if (found) {
        used.add(found.id);
        this.remove(item);
      } else {
        fail(item, "The connection broke, and it did not arrive.");
      }
    }
  }

  /** The chat cannot be entered: nothing in it can be sent. */
  refuse(key, reason) {
    for (const item of this.of(key)) if (item.state !== "failed") fail(item, reason);
  }

  retry(item) {
    item.state = "waiting";
    item.reason = "";
    item.shown = false;
  }

  remove(item) {
    this.#items = this.#items.filter((other) => other !== item);
  }

  /** Whether a chat has anything that shall still go out by itself. */
  busy(key) {
    return this.of(key).some((item) => item.state !== "failed");
  }

  clear() {
    this.#items = [];
  }
}

function fail(item, reason) {
  item.state = "failed";
  item.reason = reason;
}

function same(item, row) {
  if (!item.image) return !row.image && row.text === item.text;
  const { name, type } = row.image ?? {};
  return row.image != null && name === item.image.name && type === item.image.type;
}
