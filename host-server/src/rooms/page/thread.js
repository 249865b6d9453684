// The messages of the open chat.

import { avatar, byId, dayOf, el, hue, icon, keepFocus, sameDay, timeOf, wholeTimeOf } from "./dom.js";
import { pieces } from "./text.js";

/** Messages of one person within so many milliseconds are one block. */
const BLOCK = 5 * 60_000;
/** Nearer to the end than this (pixels), what comes is followed. */
const NEAR = 80;
/** So many lines about joins and leaves are kept. */
const PRESENCES = 100;

export class ThreadView {
  #session;
  #images;
  #show;
  #scroller = byId("scroller");
  #log = byId("log");
  #older = byId("older");
  #state = byId("log-state");
  #toEnd = byId("to-end");
  #key = null;
  #pinned = true;
  #below = 0;
  /** The first new message, which a line marks; 0 without one. */
  #mark = 0;
  #marked = false;
  #presences = [];
  #drawn = null;
  #loading = false;
  #watcher;

  /** `show(row, blob)` shows an image in full size. */
  constructor(session, images, show) {
    this.#session = session;
    this.#images = images;
    this.#show = show;
    this.#watcher = new IntersectionObserver((seen) => this.#see(seen), {
      root: this.#scroller,
      rootMargin: "600px 0px",
    });
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#older.addEventListener("click", () => this.#loadOlder());
    this.#toEnd.addEventListener("click", () => {
      this.#pinned = true;
      this.#follow();
      this.#scroller.focus({ preventScroll: true });
    });
    const sizes = new ResizeObserver(() => this.#follow());
    sizes.observe(this.#scroller);
    sizes.observe(this.#log);
  }

  /** Draws all anew. */
  draw() {
    const { open: key, log, room } = this.#session;
    if (key !== this.#key) {
      this.#key = key;
      this.#pinned = true;
      this.#mark = 0;
      this.#marked = false;
      this.#presences = [];
      this.#drawn = null;
    }
    if (!log) return;
    const { rows } = log;
    if (!this.#marked && room.state === "in") this.#markNew(rows, room.fresh);
    const kept = this.#keepPlace();
    this.#watcher.disconnect();
    const fragment = document.createDocumentFragment();
    let at = 0;
    const place = (id) => {
      for (; this.#presences[at]?.after < id; at += 1) fragment.append(this.#presences[at].element);
    };
    rows.forEach((row, index) => {
      place(row.id);
      this.#put(fragment, row, rows[index - 1]);
    });
    place(Infinity);
    keepFocus(this.#log, () => this.#log.replaceChildren(fragment));
    this.#drawn = key;
    this.#notes();
    kept();
    this.#follow();
  }

  /** Draws one row that came. */
  insert({ row, at }) {
    const { rows } = this.#session.log;
    if (this.#drawn !== this.#key || at !== rows.length - 1) {
      this.draw();
      return;
    }
    const { attentive, chats } = this.#session;
    const own = row.username === chats.me.name;
    if (!attentive && !own && this.#mark === 0) this.#mark = row.id;
    this.#put(this.#log, row, rows[at - 1]);
    this.#notes();
    if (own) this.#pinned = true;
    else if (!this.#pinned) this.#below += 1;
    this.#follow();
  }

  /** Somebody joined or left the room. */
  presence({ joined, username }) {
    const last = this.#presences.at(-1);
    const after = this.#session.log.last;
    if (last?.after === after) {
      last.names.delete(username);
      last.names.set(username, joined);
    } else {
      const element = el("li", { class: "presence" });
      this.#presences.push({ after, names: new Map([[username, joined]]), element });
      if (this.#presences.length > PRESENCES) this.#presences.shift().element.remove();
    }
    const { names, element } = this.#presences.at(-1);
    element.textContent = [sentence(names, true), sentence(names, false)].filter(Boolean).join(" · ");
    if (!element.isConnected) this.#log.append(element);
    this.#follow();
  }

  /** The person has seen what is here. */
  seen() {
    if (this.#pinned) this.#below = 0;
  }

  scrollBy(pages) {
    this.#scroller.scrollBy({ top: pages * this.#scroller.clientHeight * 0.9 });
  }

  #markNew(rows, fresh) {
    this.#marked = true;
    const { name } = this.#session.chats.me;
    let left = fresh;
    for (let at = rows.length - 1; at >= 0 && left > 0; at -= 1) {
      if (rows[at].username === name) continue;
      left -= 1;
      this.#mark = rows[at].id;
    }
  }

  #notes() {
    const { log, room, state } = this.#session;
    const focused = document.activeElement === this.#older;
    this.#older.hidden = log.older !== true;
    if (focused && this.#older.hidden) this.#scroller.focus({ preventScroll: true });
    const empty = log.rows.length === 0;
    const notes = {
      entering: state === "in" ? "Loading…" : "Waiting for the connection…",
      in: "Nothing was said here yet.",
      failed: "",
      refused: "",
      outside: "",
    };
    this.#state.hidden = !empty || notes[room.state] === "";
    this.#state.textContent = notes[room.state];
    this.#scroller.setAttribute("aria-busy", String(room.state === "entering"));
  }

  #put(parent, row, previous) {
    const newDay = !previous || !sameDay(previous.date, row.date);
    if (newDay) parent.append(el("li", { class: "day" }, el("span", {}, dayOf(row.date))));
    const marked = row.id === this.#mark;
    if (marked) parent.append(el("li", { class: "new" }, el("span", {}, "New")));
    const follows = !newDay && !marked && previous.username === row.username &&
      row.date - previous.date < BLOCK && !parent.lastElementChild?.matches(".presence");
    parent.append(this.#message(row, follows));
  }

  #message(row, follows) {
    const own = row.username === this.#session.chats.me.name;
    const time = el("time", { datetime: isoOf(row.date), title: wholeTimeOf(row.date) }, timeOf(row.date));
    const author = el("span", { class: `author ${hue(row.username)}`, dir: "auto" }, row.username);
    // Whoever hears the page needs the name at each message.
    if (follows || own) author.className = "author hidden-text";
    const content = row.image ? this.#image(row) : textOf(row.text);
    const body = el("div", { class: "body" }, content, time);
    const bubble = el("div", { class: row.image ? "bubble pictured" : "bubble" }, author, body);
    const kind = `message ${own ? "own" : "others"}${follows ? " follows" : ""}`;
    const face = own ? null : avatar(row.username);
    return el("li", { class: kind, "data-id": row.id }, face, bubble);
  }

  #image(row) {
    const name = row.image.name || "image";
    const button = el("button", {
      type: "button",
      class: "picture",
      "aria-label": `Show ${name} in full size`,
      onclick: () => this.#images.get(row.id).then((blob) => blob && this.#show(row, blob), () => {}),
    }, icon("image"));
    button.row = row;
    this.#watcher.observe(button);
    return button;
  }

  #see(seen) {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      this.#watcher.unobserve(target);
      this.#load(target);
    }
  }

  async #load(button) {
    const { row } = button;
    let blob;
    try {
      blob = await this.#images.get(row.id);
    } catch {
      // The connection broke. Once it is back all is drawn anew; until then a click tries again.
      return;
    }
    const image = el("img", { alt: row.image.name || "image" });
    const address = blob && URL.createObjectURL(blob);
    const fail = () => {
      button.replaceChildren(icon("image"), el("span", {}, "The image is not there any more."));
      button.disabled = true;
    };
    if (!blob) return fail();
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    image.addEventListener("error", fail, { once: true });
    image.src = address;
    button.replaceChildren(image);
  }

  async #loadOlder() {
    if (this.#loading) return;
    this.#loading = true;
    // Not disabled, which would take the focus from it.
    this.#older.textContent = "Loading…";
    try {
      await this.#session.loadOlder();
    } catch {
      // The button is there for another try.
    }
    this.#loading = false;
    this.#older.textContent = "Load older messages";
  }

  /** What shows on top stays where it is, whatever is put above it. */
  #keepPlace() {
    if (this.#pinned) return () => {};
    const top = this.#scroller.getBoundingClientRect().top;
    const rows = [...this.#log.querySelectorAll(".message")];
    const anchor = rows.find((row) => row.getBoundingClientRect().bottom > top);
    if (!anchor) return () => {};
    const was = anchor.getBoundingClientRect().top;
    return () => {
      const now = this.#log.querySelector(`[data-id="${anchor.dataset.id}"]`);
      if (now) this.#scroller.scrollTop += now.getBoundingClientRect().top - was;
    };
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#pinned = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#followed();
  }

  /** Keeps the end in view, if it was. */
  #follow() {
    if (this.#pinned) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#followed();
  }

  #followed() {
    if (this.#pinned) this.#below = 0;
    this.#toEnd.hidden = this.#pinned;
    const label = this.#below === 0 ? "To the end" : `${this.#below} new`;
    if (this.#toEnd.textContent !== label) this.#toEnd.replaceChildren(icon("down"), label);
  }
}

/** A broken clock's time must not break the page. */
function isoOf(date) {
  const time = new Date(date);
  return Number.isNaN(time.getTime()) ? "" : time.toISOString();
}

function textOf(text) {
  const parts = pieces(text).map((piece) => {
    if (typeof piece === "string") return piece;
    const { address } = piece;
    return el("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, address);
  });
  return el("div", { class: "text", dir: "auto" }, ...parts);
}

/** Who joined, or who left, in words. */
function sentence(names, joined) {
  const who = [...names].filter(([, state]) => state === joined).map(([name]) => name);
  if (who.length === 0) return "";
  const most = who.slice(-5);
  const rest = who.length - most.length;
  const list = most.join(", ") + (rest > 0 ? ` and ${rest} more` : "");
  return `${list} ${joined ? "joined" : "left"}`;
}
