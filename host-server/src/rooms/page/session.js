// A person's session: what is said to the server and when, and what its events change. It survives
// broken connections: it logs in again, enters the open chat again and reads what it missed.

import { Chats, keyOf, parseKey } from "./chats.js";
import { Log, PAGE, rowOf } from "./log.js";
import { Outgoing } from "./outgoing.js";
import { Recount } from "./recount.js";
import { PATIENCE, Requests, Unanswered } from "./requests.js";

/** So many logs of chats that are not open are kept to be shown at once. */
const KEPT_LOGS = 12;
/** Pages of history that are looked through for a message whose answer was lost. */
const SEARCHED_PAGES = 10;

/**
 * `onchange(what, detail)` tells the views: "connection", "list", "log", "row" (one was added),
 * "outgoing", "presence", "message" (somebody said something), "refused" (logged out, and why).
 */
export class Session {
  onchange = () => {};
  chats = new Chats();
  outgoing = new Outgoing();
  /** "out", "connecting" (for the first time), "in" or "broken". */
  state = "out";
  /** When the next try to connect comes: milliseconds of `Date.now()`. */
  retryAt = 0;
  /**
   * The key of the open chat, and how far the person is in it: "entering", "in", "outside" (an
   * advert's room to join), "refused", "failed"; `fresh` is how many messages were new in it,
   * `notice` what else there is to be said about it.
   */
  open = null;
  room = { state: "entering", reason: "", fresh: 0, notice: "" };
  /** Whether the person can see the page. */
  attentive = true;
  #socket;
  #requests;
  #password = "";
  #logs = new Map();
  #entered = new Set();
  #leaving = new Map();
  #refreshing = 0;
  /** The open chat that was asked to be entered in this connection. */
  #entering = null;
  #answerTimer = 0;
  #counted = false;
  #recount = new Recount(() => this.state === "in" && this.#socket.send("get-user-chats"));
  #loggedIn = null;
  /** Images by message id, as they come with messages: called with (id, type, bytes). */
  onimage = () => {};

  constructor(socket) {
    this.#socket = socket;
    this.#requests = new Requests((name, ...args) => this.#socket.send(name, ...args));
    socket.onopen = () => this.#authenticate();
    socket.onclose = (delay) => this.#broken(delay);
    socket.onevent = (name, args) => this.#event(name, args);
  }

  /** Logs in; throws an Error with the server's reason. `restore` puts back what was kept. */
  logIn(name, password, restore = () => {}) {
    this.chats = new Chats();
    this.#counted = false;
    this.chats.me.name = name;
    this.#password = password;
    this.outgoing.clear();
    restore();
    this.#setState("connecting");
    return new Promise((resolve, reject) => {
      this.#loggedIn = { resolve, reject };
      this.#socket.stop();
      this.#socket.start();
    });
  }

  logOut() {
    this.#socket.stop();
    this.#requests.broken();
    this.#logs.clear();
    this.#entering = null;
    this.#entered.clear();
    this.#leaving.clear();
    this.open = null;
    this.#password = "";
    clearTimeout(this.#answerTimer);
    this.#setState("out");
  }

  /** Tries to connect now, if it waits for the next time. */
  connectNow() {
    if (this.state !== "out") this.#socket.start();
  }

  /** Whether the server has said which chats the person has. */
  get counted() {
    return this.#counted;
  }

  get log() {
    return this.#logs.get(this.open) ?? null;
  }

  get chat() {
    return this.open === null ? null : this.chats.get(this.open);
  }

  /** Opens a chat (null: none) and leaves the one before. `join` enters an advert's room, too. */
  openChat(key, join = false) {
    if (key === this.open) {
      if (join && this.room.state === "outside") this.enterAgain();
      return;
    }
    const before = this.open;
    this.open = key;
    this.#entering = null;
    if (before !== null) {
      this.#logs.get(before)?.suspend();
      this.#logs.get(before)?.trim();
      this.#leaveIfDone(before);
    }
    if (key === null) return;
    const { anons, chat } = parseKey(key);
    const entry = this.chats.add(anons, chat);
    if (this.chats.nameless(entry)) this.#refresh();
    this.room = { state: "entering", reason: "", fresh: entry.unread, notice: "" };
    entry.mine ||= join || entry.kind !== "room";
    entry.read();
    const log = this.#logs.get(key) ?? new Log();
    // The last opened comes last.
    this.#logs.delete(key);
    this.#logs.set(key, log);
    if (this.#logs.size > KEPT_LOGS) this.#logs.delete(this.#logs.keys().next().value);
    this.#enterOpen();
    this.onchange("list");
    this.onchange("log");
  }

  /** Enters the open chat, once in a connection, if it is known to be the person's. */
  #enterOpen() {
    if (this.open === null || this.state !== "in" || this.#entering === this.open) return;
    if (this.chat.mine) this.#enter(this.open);
    // To join is for good: nobody does it by looking.
    else if (this.counted) this.room.state = "outside";
  }

  /** The person looks at the page, or away from it. */
  attend(attentive) {
    this.attentive = attentive;
    if (attentive && this.chat?.unread) {
      this.chat.read();
      this.onchange("list");
    }
  }

  /** Joins the open advert, or enters the open chat once more after that failed. */
  enterAgain() {
    this.room.state = "entering";
    this.onchange("log");
    this.#enter(this.open);
  }

  /** Loads the page before the first row. Throws Unanswered. */
  async loadOlder() {
    const { open: key, log } = this;
    log.previous(await this.#history(key, log.first));
    if (key === this.open) this.onchange("log");
  }

  /** Sends { text } or { image } to the open chat, as soon as that can be. */
  send(content) {
    this.outgoing.add(this.open, content);
    this.onchange("outgoing");
    this.#pump();
  }

  retry(item) {
    this.outgoing.retry(item);
    this.onchange("outgoing");
    this.#pump();
  }

  discard(item) {
    this.outgoing.remove(item);
    this.onchange("outgoing");
  }

  /** Creates an advert; gives its number. Throws an Error with the reason. */
  async createAdvert(name) {
    const answer = "create-anons-response";
    const [anons, message] = await this.#requests.ask("create-anons", [name], answer);
    if (anons === -1) throw new Error(message);
    this.#refresh();
    return anons;
  }

  /** Makes sure that the person's private chat about an advert is there; gives its key. */
  async askPrivately(anons) {
    const key = keyOf(anons, this.chats.me.id);
    if (this.chats.get(key)?.mine) return key;
    const fits = (args) => args[0] === anons || args[0] === 0;
    const asked = this.#requests.ask("new-chat", [anons], "new-chat-response", fits);
    const [, chat, reason] = await asked;
    this.#refresh();
    // Another tab may have begun it, or this server words it so.
    if (chat === -1 && !/exist/i.test(reason)) throw new Error(reason);
    return key;
  }

  /** An image's { type, data }, data null if the server has it no more. Throws Unanswered. */
  async image(id) {
    const fits = (args) => args[0] === id;
    const [, type, data] = await this.#requests.ask("get-image", [id], "image", fits);
    return { type, data };
  }

  /** Asks anew who and what there is. */
  refresh() {
    this.#refresh();
  }

  #setState(state) {
    this.state = state;
    this.onchange("connection");
  }

  async #authenticate() {
    const { name } = this.chats.me;
    const args = this.#password === "" ? [name] : [name, this.#password];
    let status, message;
    try {
      [status, message] = await this.#requests.ask("auth-request", args, "auth-response");
    } catch {
      // Broken off: the socket comes back by itself. Silence: it is told to.
      this.#socket.again();
      return;
    }
    if (status !== 1) {
      this.#refused(message);
      return;
    }
    this.chats.me.id = Number(message);
    this.#recount.begin();
    this.#setState("in");
    this.#loggedIn?.resolve();
    this.#loggedIn = null;
    this.#refresh();
    const keys = new Set(this.outgoing.all.map((item) => item.key));
    for (const key of keys) if (key !== this.open && this.outgoing.busy(key)) this.#enter(key);
    this.#enterOpen();
  }

  #refused(reason) {
    this.logOut();
    if (this.#loggedIn) this.#loggedIn.reject(new Error(reason));
    else this.onchange("refused", reason);
    this.#loggedIn = null;
  }

  #broken(delay) {
    this.#entering = null;
    this.#entered.clear();
    this.#leaving.clear();
    this.outgoing.broken();
    this.chats.carry();
    clearTimeout(this.#answerTimer);
    this.#logs.get(this.open)?.suspend();
    this.#requests.broken();
    this.retryAt = Date.now() + delay;
    if (this.state === "in") this.state = "broken";
    this.onchange("connection");
    this.onchange("outgoing");
  }

  /** Asks who and what there is, and how much of it is new; many wishes are one question. */
  #refresh() {
    if (this.#refreshing) return;
    this.#refreshing = setTimeout(() => {
      this.#refreshing = 0;
      if (this.state !== "in") return;
      for (const name of ["get-anons", "get-users", "get-user-chats"]) this.#socket.send(name);
    }, 50);
  }

  /** Enters a chat, reads what was missed, and lets go what waits for it. */
  async #enter(key) {
    if (key === this.open) this.#entering = key;
    const { anons, chat } = parseKey(key);
    const fits = (args) => args[0] === anons && (args[1] === chat || args[1] === -1);
    try {
      const asked = this.#requests.ask("join-chat", [anons, chat], "join-chat-response", fits);
      const [, entered, reason] = await asked;
      if (entered === -1) {
        this.outgoing.refuse(key, reason);
        this.chats.add(anons, chat).refused = true;
        if (key === this.open) Object.assign(this.room, { state: "refused", reason });
      } else {
        this.#entered.add(key);
        Object.assign(this.chats.add(anons, chat), { mine: true, refused: false });
        await this.#catchUp(key);
        if (key === this.open) this.room.state = "in";
        this.onchange("list");
      }
      this.onchange("outgoing");
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      // After a break it is done again with the next connection.
      if (this.state === "in" && key === this.open) {
        Object.assign(this.room, { state: "failed", reason: error.message });
      }
    }
    if (key === this.open) this.onchange("log");
    this.#pump();
    this.#leaveIfDone(key);
  }

  async #catchUp(key) {
    const unsure = this.outgoing.of(key).filter((item) => item.state === "unsure");
    if (key !== this.open && unsure.length === 0) return;
    const page = await this.#history(key, 0);
    if (key === this.open) this.#read(page);
    if (unsure.length === 0) return;
    const oldest = Math.min(...unsure.map((item) => item.after));
    let rows = page;
    let full = page.length >= PAGE;
    for (let n = 1; full && rows[0].id > oldest && n < SEARCHED_PAGES; n += 1) {
      const previous = await this.#history(key, rows[0].id);
      rows = [...previous.slice(0, -1), ...rows];
      full = previous.length >= PAGE;
    }
    this.outgoing.settle(key, rows.filter((row) => row.username === this.chats.me.name));
  }

  /** The open chat's newest page came. */
  #read(page) {
    const { chat, log } = this;
    const before = log.last;
    log.newest(page);
    for (const row of page) {
      const preview = { username: row.username, text: row.image ? "Image" : row.text };
      const missed = before > 0 && row.id > before && row.username !== this.chats.me.name;
      chat.heard(row.id, preview, this.attentive || !missed);
    }
    this.onchange("list");
  }

  /**
   * The newest page of a chat's messages, or the one before a message. Another tab's answers come
   * here too and say neither what nor whom they answer: so a page before a message is asked for
   * with that message in it, and one without it is not taken.
   */
  async #history(key, before) {
    const { anons, chat } = parseKey(key);
    const fits = ([, rows]) => {
      const last = rows.at(-1);
      if (!last) return before === 0;
      const here = last.anons_id === anons && last.chat_id === chat;
      return here && (before === 0 || last.message_id === before);
    };
    const args = before === 0 ? [anons, chat] : [anons, chat, before + 1];
    const ask = async () => {
      const answer = await this.#requests.ask("get-chat-messages", args, "chat-messages", fits);
      return answer[1].map(rowOf);
    };
    const log = this.#logs.get(key);
    const behind = (page) => before === 0 && log && (page.at(-1)?.id ?? 0) < log.last;
    const page = await ask();
    if (!behind(page)) return page;
    // Another tab's answer. Or, if it is said again, of a server that keeps nothing and began anew.
    const again = await ask();
    if (!behind(again)) return again;
    log.forget();
    this.chats.get(key).forget();
    return again;
  }

  /** Leaves a chat that is not open, once nothing is to be said in it any more. */
  #leaveIfDone(key) {
    if (key === this.open || this.outgoing.busy(key) || !this.#entered.delete(key)) return;
    const { anons, chat } = parseKey(key);
    this.#leaving.set(key, (this.#leaving.get(key) ?? 0) + 1);
    this.#socket.send("leave-chat", anons, chat);
  }

  /** Sends what is next in turn. */
  #pump() {
    if (this.state !== "in") return;
    const item = this.outgoing.next(this.#entered);
    if (!item) return;
    const { anons, chat } = parseKey(item.key);
    this.outgoing.begin(item, this.#logs.get(item.key)?.last ?? 0);
    clearTimeout(this.#answerTimer);
    this.#answerTimer = setTimeout(() => this.#socket.again(), PATIENCE);
    if (item.image) {
      const { name, type, data } = item.image;
      this.#socket.send("chat-img", anons, chat, name, type, data, item.tag);
    } else {
      this.#socket.send("chat-msg", anons, chat, item.text, item.tag);
    }
    this.onchange("outgoing");
  }

  #count(rows) {
    this.chats.count(rows, this.open);
    this.#counted = true;
    this.#recount.counted();
    const { state } = this.room;
    this.#enterOpen();
    this.onchange("list");
    if (this.room.state !== state) this.onchange("log");
  }

  #answered([status, reason, tag]) {
    const { sending } = this.outgoing;
    // What another tab has sent is answered here too.
    if (!sending || (tag !== undefined && tag !== sending.tag)) return;
    clearTimeout(this.#answerTimer);
    // Another tab left the chat meanwhile, for this one too: it is sent once that is entered again.
    if (status !== 1 && !this.#entered.has(sending.key)) this.outgoing.retry(sending);
    else this.outgoing.answer(status, reason);
    this.onchange("outgoing");
    this.#pump();
    this.#leaveIfDone(sending.key);
  }

  #event(name, args) {
    if (this.#requests.answer(name, args)) return;
    switch (name) {
      case "auth-response":
        // The server knows this session no more.
        if (args[0] !== 1) this.#socket.again();
        break;
      case "anons":
        this.chats.setAdverts(args[1]);
        this.onchange("list");
        break;
      case "users":
        this.chats.setUsers(args[1]);
        this.onchange("list");
        break;
      case "user-chats":
        this.#count(args[1]);
        break;
      case "chat-response":
        this.#answered(args);
        break;
      case "chat-msg":
      case "new-msg-notification": {
        const [id, anons, chat, username, date, text] = args;
        this.#said(anons, chat, { id, username, date, text, image: null });
        break;
      }
      case "chat-img":
      case "new-img-notification": {
        const [id, anons, chat, username, date, imageName, type, data] = args;
        if (data) this.onimage(id, type, data);
        const image = { name: imageName, type, size: data?.byteLength ?? 0 };
        this.#said(anons, chat, { id, username, date, text: "", image });
        break;
      }
      case "user-join":
      case "user-leave":
        this.#presence(name === "user-join", args);
        break;
      case "join-chat-response":
      case "leave-chat-response":
        this.#elsewhere(name === "join-chat-response", args);
    }
  }

  #said(anons, chatId, row) {
    const known = this.chats.get(keyOf(anons, chatId));
    const chat = known ?? this.chats.add(anons, chatId);
    if (!known || this.chats.nameless(chat)) this.#refresh();
    this.#meet(row.username);
    const own = row.username === this.chats.me.name;
    const open = chat.key === this.open;
    const preview = { username: row.username, text: row.image ? "Image" : row.text };
    const before = chat.newest;
    const seen = own || (open && this.attentive);
    chat.note(row.id, preview, seen);
    this.chats.raise(chat);
    this.#enterOpen();
    if (!seen) this.#recount.heard();
    if (own && this.outgoing.echo(chat.key, row)) this.onchange("outgoing");
    if (open) {
      const at = this.log.add(row);
      if (at >= 0) this.onchange("row", { row, at });
    }
    this.onchange("list");
    if (!own && row.id > before) this.onchange("message", { chat, row, open });
  }

  /** Whoever is not known is asked for: they can be written to. */
  #meet(username) {
    if (!this.chats.knows(username)) this.#refresh();
  }

  #presence(joined, [anons, chat, username]) {
    this.#meet(username);
    if (keyOf(anons, chat) === this.open) this.onchange("presence", { joined, username });
  }

  /** A chat was entered or left, and not by this page: by another of the person's tabs. */
  #elsewhere(entered, [anons, chat]) {
    if (chat === -1) {
      if (!entered) this.#notLeft(anons);
      return;
    }
    const key = keyOf(anons, chat);
    if (!entered && this.#leaving.has(key)) {
      this.#left(key);
    } else if (key !== this.open) {
      this.#entered.delete(key);
      this.chats.get(key)?.read();
      this.onchange("list");
      // What is to be said in it was not said yet.
      if (!entered && this.outgoing.busy(key)) this.#enter(key);
    } else if (!entered || this.room.state === "outside") {
      this.#entered.delete(key);
      this.#enter(key);
    }
  }

  /** The server has answered what was asked in `#leaveIfDone`. */
  #left(key) {
    const leaving = this.#leaving.get(key) - 1;
    if (leaving > 0) this.#leaving.set(key, leaving);
    else this.#leaving.delete(key);
  }

  /** A chat about an advert could not be left, as another tab had left it: which one is not said. */
  #notLeft(anons) {
    const key = [...this.#leaving.keys()].find((leaving) => parseKey(leaving).anons === anons);
    if (key) this.#left(key);
  }
}
