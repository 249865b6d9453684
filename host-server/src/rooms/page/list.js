// The list of chats, of adverts to join and of people to write to.

import { keyOf } from "./chats.js";
import { avatar, byId, el, icon } from "./dom.js";

/** More people or adverts than this are found by their name. */
const SHOWN = 100;

export class ListView {
  #session;
  #lists = byId("lists");
  #search = byId("search");
  #drawing = 0;
  #sections = {};

  constructor(session) {
    this.#session = session;
    for (const [name, title] of [
      ["chats", "Chats"],
      ["adverts", "Adverts to join"],
      ["people", "People"],
    ]) {
      const count = el("span", { class: "muted" });
      const list = el("ul");
      const note = el("p", { class: "muted", hidden: true });
      const open = name === "chats" || null;
      const heading = el("summary", {}, el("h2", {}, title), " ", count);
      const section = el("details", { class: "section", open, id: `list-${name}` }, heading, list, note);
      this.#sections[name] = { section, list, count, note, items: new Map() };
      this.#lists.append(section);
    }
    this.#search.addEventListener("input", () => this.draw());
    // Who is there, and which adverts, may have changed since.
    this.#search.addEventListener("focus", () => session.refresh());
    for (const { section } of Object.values(this.#sections)) {
      section.addEventListener("toggle", () => section.open && session.refresh());
    }
    this.#search.addEventListener("keydown", (event) => this.#inSearch(event));
    this.#lists.addEventListener("keydown", (event) => this.#inLists(event));
  }

  /** Draws soon; many changes are one drawing. */
  changed() {
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      this.draw();
    });
  }

  clear() {
    this.#search.value = "";
    this.#lists.setAttribute("aria-busy", "true");
    for (const { list, items } of Object.values(this.#sections)) {
      list.replaceChildren();
      items.clear();
    }
  }

  /** Puts the focus on a chat's entry, or on the search. */
  focus(key) {
    const entry = key && this.#lists.querySelector(`a[href="#${key}"]`);
    (entry ?? this.#search).focus();
  }

  draw() {
    const { chats, counted, open } = this.#session;
    this.#lists.setAttribute("aria-busy", String(!counted));
    const wanted = this.#search.value.trim().toLocaleLowerCase();
    const fits = (name) => name.toLocaleLowerCase().includes(wanted);
    const mine = chats.list.map((chat) => ({
      key: chat.key,
      kind: chat.kind,
      title: chats.title(chat),
      line: this.#line(chat),
      unread: chat.unread,
    }));
    const adverts = chats.otherAdverts.map(({ id, name }) => {
      const owner = chats.owner(id);
      return { key: keyOf(id, 0), kind: "room", title: name, line: owner && `by ${owner}` };
    });
    const people = chats.people.map(({ id, name, online }) => {
      return { key: keyOf(0, id), kind: "direct", title: name, online, line: online ? "here" : "" };
    });
    const found = (entries) => entries.filter(({ title, line }) => fits(title) || fits(line));
    this.#fill("chats", found(mine), open, wanted);
    this.#fill("adverts", found(adverts), open, wanted);
    this.#fill("people", found(people), open, wanted);
  }

  #line(chat) {
    const { chats, outgoing } = this.#session;
    const failed = outgoing.of(chat.key).find((item) => item.state === "failed");
    if (failed) return `Not sent: ${failed.text ?? failed.image.name}`;
    if (!chat.preview) return chats.subtitle(chat);
    const { username, text } = chat.preview;
    const by = username === chats.me.name ? "You" : username;
    return chat.kind === "direct" && by !== "You" ? text : `${by}: ${text}`;
  }

  #fill(name, entries, open, wanted) {
    const { section, list, count, note, items } = this.#sections[name];
    const shown = entries.slice(0, name === "chats" ? Infinity : SHOWN);
    const keys = new Set(shown.map(({ key }) => key));
    for (const [key, item] of items) {
      if (keys.has(key)) continue;
      item.element.remove();
      items.delete(key);
    }
    let before = null;
    for (const entry of shown) {
      const item = items.get(entry.key) ?? makeItem(entry);
      items.set(entry.key, item);
      item.update(entry, entry.key === open);
      // Moved only if it must be: what moves loses the focus.
      const place = before ? before.nextSibling : list.firstChild;
      if (place !== item.element) {
        const focused = item.element.contains(document.activeElement) && document.activeElement;
        list.insertBefore(item.element, place);
        if (focused) focused.focus({ preventScroll: true });
      }
      before = item.element;
    }
    count.textContent = entries.length > 0 ? String(entries.length) : "";
    section.hidden = entries.length === 0 && name !== "chats";
    if (wanted) section.open = true;
    const more = entries.length - shown.length;
    note.hidden = (entries.length > 0 && more === 0) || !this.#session.counted;
    note.textContent = more > 0
      ? `and ${more} more: find them by name`
      : wanted ? "Nothing of that name." : "None yet: join an advert, create one, or write to somebody.";
  }

  #inSearch(event) {
    if (event.key === "Escape") {
      this.#search.value = "";
      this.draw();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      const first = this.#links()[0];
      if (!first) return;
      event.preventDefault();
      if (event.key === "Enter" && this.#search.value.trim() !== "") first.click();
      else first.focus();
    }
  }

  #inLists(event) {
    const links = this.#links();
    const at = links.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 };
    const to = steps[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    (to < 0 ? this.#search : links[Math.min(to, links.length - 1)]).focus();
  }

  #links() {
    return [...this.#lists.querySelectorAll("details[open]:not([hidden]) a")];
  }
}

function makeItem({ key, kind, title }) {
  const face = kind === "direct" ? avatar(title) : el("span", { class: "avatar" }, icon(kind));
  const name = el("span", { class: "title", dir: "auto" });
  const line = el("span", { class: "line", dir: "auto" });
  const count = el("span", { class: "count", "aria-hidden": "true", hidden: true });
  const spoken = el("span", { class: "hidden-text" });
  const link = el("a", { href: `#${key}` }, face, name, line, count, spoken);
  const element = el("li", { class: "entry" }, link);
  let drawn = "";
  const update = (entry, current) => {
    const now = JSON.stringify([entry, current]);
    if (now === drawn) return;
    drawn = now;
    name.textContent = entry.title;
    line.textContent = entry.line;
    element.classList.toggle("unread", entry.unread > 0);
    element.classList.toggle("online", entry.online === true);
    count.hidden = !entry.unread;
    count.textContent = entry.unread > 999 ? "999+" : String(entry.unread ?? "");
    spoken.textContent = entry.unread ? `, ${entry.unread} new` : "";
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  };
  return { element, update };
}
