// The chats of a user, their names and how many messages in them are new: no page, no connection.

/** A chat's name in addresses: `advert/chat`. */
export const keyOf = (anons, chat) => `${anons}/${chat}`;

/** The chat that an address (`#3/0`) names, or null. */
export function parseKey(text) {
  const match = /^#?(\d{1,10})\/(\d{1,10})$/.exec(text);
  if (!match) return null;
  const [anons, chat] = [Number(match[1]), Number(match[2])];
  return anons === 0 && chat === 0 ? null : { anons, chat };
}

/** What kind of chat a pair is: an advert's room, a private chat about one, or a DM. */
export function kindOf(anons, chat) {
  if (anons === 0) return "direct";
  return chat === 0 ? "room" : "private";
}

class Chat {
  /** New messages at the server's last count. */
  #counted = 0;
  /** All messages at that time, and those that came later, as far as the page heard. */
  #all = 0;
  /** `#all` when the chat was read last. */
  #readAt = 0;
  /** A DM's new messages of connections before this one: the server takes them for seen. */
  #carried = 0;
  /** Ids of messages that came after the server's count and were not seen. */
  #unseen = new Set();

  constructor(anons, chat) {
    this.anons = anons;
    this.chat = chat;
    this.key = keyOf(anons, chat);
    this.kind = kindOf(anons, chat);
    /** Whether it is one of the person's chats, and not only looked at. */
    this.mine = false;
    /** Whether the server did not let the person enter it: there may be no such chat. */
    this.refused = false;
    /** The newest message id that the page heard of. */
    this.newest = 0;
    /** Where it stands in the list: what was talked in last has the highest. */
    this.order = 0;
    /** What was said last, where the page heard it: { username, text }. */
    this.preview = null;
  }

  get unread() {
    return this.#counted + this.#unseen.size;
  }

  /** A message of now; `seen` is whether it needs no counting: an own one, or one before the eyes. */
  note(id, preview, seen) {
    if (id > this.newest) this.#all += 1;
    this.heard(id, preview, seen);
    if (this.unread === 0) this.#readAt = this.#all;
  }

  /** A message of the history. */
  heard(id, preview, seen) {
    if (id > this.newest) {
      this.newest = id;
      this.preview = preview;
    }
    if (!seen) this.#unseen.add(id);
  }

  /** The server counted: all messages, and the new ones since this user last left or went away. */
  count(all, fresh) {
    this.#all = all;
    if (this.#carried === 0) this.#readAt = Math.max(this.#readAt, all - fresh);
    // What was carried may be counted once more: after a crash the server knows of no going away.
    const most = Math.min(this.#carried + fresh, all - this.#readAt);
    this.#counted = this.#carried > 0 ? Math.max(fresh, most) : fresh;
    this.#unseen.clear();
  }

  /** The same while the chat is open: what is new in it the page knows itself. */
  countOpen(all) {
    this.#all = all;
    if (this.unread === 0) this.#readAt = all;
  }

  /** The server knows nothing of what was said before. */
  forget() {
    this.newest = 0;
    this.count(0, 0);
    this.read();
  }

  /** All of it was read. */
  read() {
    this.#counted = 0;
    this.#carried = 0;
    this.#readAt = this.#all;
    this.#unseen.clear();
  }

  /** The connection is gone. In a DM that counts as seen, as one is always in it. */
  carry() {
    if (this.kind !== "direct") return;
    this.#carried = this.unread;
    this.#counted = this.#carried;
    this.#unseen.clear();
  }

  /** What shall outlast the page, and back. */
  save() {
    return [this.order, this.kind === "direct" ? this.unread : 0, this.#readAt];
  }

  restore([order, carried, readAt]) {
    this.order = order;
    this.#carried = carried;
    this.#readAt = readAt;
  }
}

export class Chats {
  me = { id: 0, name: "" };
  /** Adverts by number: { name, owner }, the owner by name, "" without one. */
  adverts = new Map();
  /** Users by number: { name, online }. */
  users = new Map();
  #chats = new Map();
  #saved = new Map();

  /** Which a person has, newest talk first, then by name. */
  get list() {
    return [...this.#chats.values()]
      .filter((chat) => chat.mine && !chat.refused)
      .sort((a, b) => b.order - a.order || this.title(a).localeCompare(this.title(b)));
  }

  get unread() {
    let sum = 0;
    for (const chat of this.#chats.values()) sum += chat.unread;
    return sum;
  }

  get(key) {
    return this.#chats.get(key);
  }

  /** The chat of a pair. */
  add(anons, chat) {
    const key = keyOf(anons, chat);
    let entry = this.#chats.get(key);
    if (!entry) {
      entry = new Chat(anons, chat);
      if (this.#saved.has(key)) entry.restore(this.#saved.get(key));
      this.#chats.set(key, entry);
    }
    return entry;
  }

  /** It was talked in just now. */
  raise(chat) {
    chat.mine = true;
    const orders = [...this.#chats.values()].map((other) => other.order);
    chat.order = Math.max(0, ...orders.filter((order) => order !== chat.order)) + 1;
  }

  /** What shall outlast the page: order and what is new in DMs. */
  save() {
    return JSON.stringify([...this.#chats.values()].map((chat) => [chat.key, chat.save()]));
  }

  /** Takes what `save` gave; anything else is ignored. */
  restore(text) {
    let entries = [];
    try {
      entries = JSON.parse(text ?? "[]");
    } catch {
      // Kept by something else.
    }
    const whole = ([key, values]) =>
      parseKey(key) && Array.isArray(values) && values.length === 3 && values.every(isCount);
    this.#saved = new Map(Array.isArray(entries) ? entries.filter(Array.isArray).filter(whole) : []);
  }

  /** The connection is gone. */
  carry() {
    for (const chat of this.#chats.values()) chat.carry();
  }

  /** The answer to `get-user-chats`; what is new in the open chat the page knows itself. */
  count(rows, openKey) {
    for (const { anons_id, chat_id, AllMsgs, NewMsgs } of rows) {
      const chat = this.add(anons_id, chat_id);
      const known = chat.mine;
      chat.mine = true;
      if (chat.key === openKey) chat.countOpen(AllMsgs);
      else chat.count(AllMsgs, NewMsgs);
      // Something came while nobody listened.
      if (!known && chat.unread > 0) this.raise(chat);
    }
  }

  setAdverts(rows) {
    this.adverts = new Map(rows.map(({ anons_id, name, owner }) => [anons_id, { name, owner }]));
  }

  setUsers(rows) {
    const entry = ({ user_id, username, online }) => [user_id, { name: username, online }];
    this.users = new Map(rows.map(entry));
    // As the server writes it: "Jan_K" logs in as "Jan K".
    this.me.name = this.users.get(this.me.id)?.name ?? this.me.name;
  }

  /** Whether somebody of this name is among the users. */
  knows(username) {
    for (const { name } of this.users.values()) if (name === username) return true;
    return false;
  }

  userName(id) {
    return this.users.get(id)?.name ?? `user ${id}`;
  }

  advertName(anons) {
    return this.adverts.get(anons)?.name ?? `advert ${anons}`;
  }

  title(chat) {
    if (chat.kind === "room") return this.advertName(chat.anons);
    if (chat.kind === "direct") {
      return this.userName(chat.chat) + (chat.chat === this.me.id ? " (you)" : "");
    }
    const asker = chat.chat !== this.me.id;
    return asker ? this.userName(chat.chat) : (this.owner(chat.anons) || "nobody");
  }

  /** What kind of chat it is, in words. */
  subtitle(chat) {
    if (chat.kind === "direct") return "Direct messages";
    if (chat.kind === "private") return `Private, about ${this.advertName(chat.anons)}`;
    const owner = this.owner(chat.anons);
    if (owner === "") return "Advert";
    return owner === this.me.name ? "Your advert" : `Advert by ${owner}`;
  }

  /** The name of an advert's owner, "" if it has none or is not known. */
  owner(anons) {
    return this.adverts.get(anons)?.owner ?? "";
  }

  /** Whether the person may ask the advert's owner privately. */
  mayAskPrivately(anons) {
    return this.owner(anons) !== "" && this.owner(anons) !== this.me.name;
  }

  /** Whether a name is missing that the chat is called by. */
  nameless({ anons, chat }) {
    return (anons !== 0 && !this.adverts.has(anons)) || (chat !== 0 && !this.users.has(chat));
  }

  /** Adverts whose room the person has not joined, by name. */
  get otherAdverts() {
    const rows = [...this.adverts].filter(([id]) => !this.#chats.get(keyOf(id, 0))?.mine);
    return rows.map(([id, { name }]) => ({ id, name })).sort(byName);
  }

  /** Everybody else, who is there first, then by name. */
  get people() {
    const rows = [...this.users].filter(([id]) => id !== this.me.id);
    const people = rows.map(([id, { name, online }]) => ({ id, name, online }));
    return people.sort((a, b) => Number(b.online ?? 0) - Number(a.online ?? 0) || byName(a, b));
  }
}

const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const byName = (a, b) => a.name.localeCompare(b.name);
