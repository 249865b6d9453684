// What a person is told of that happens where they do not look: the title's count, a word for
// screen readers, and a notification of the desktop where that was asked for.

import { byId, icon } from "./dom.js";

/** Messages within so many milliseconds are announced together. */
const TOGETHER = 700;

export class Notices {
  #session;
  #bell = byId("notify");
  #announcer = byId("announcer");
  #waiting = [];
  #timer = 0;

  constructor(session) {
    this.#session = session;
    this.#bell.addEventListener("click", () => this.#toggle());
    this.#drawBell();
  }

  /** The title says how much is new. */
  count() {
    const { chats, chat, state } = this.#session;
    const unread = state === "out" ? 0 : chats.unread;
    const name = state !== "out" && chat ? `${chats.title(chat)} · Centrala` : "Centrala";
    document.title = unread > 0 ? `(${unread}) ${name}` : name;
  }

  /** Somebody said something. */
  message({ chat, row, open }) {
    const { attentive, chats } = this.#session;
    const text = row.image ? "sent an image" : row.text;
    const place = chat.kind === "direct" || open ? "" : ` in ${chats.title(chat)}`;
    this.#waiting.push(`${row.username}${place}: ${text}`);
    this.#timer ||= setTimeout(() => this.#say(), TOGETHER);
    if (this.#wanted && !(open && attentive)) this.#notify(chat, row, text);
  }

  /** For screen readers, at once. */
  announce(text) {
    this.#announcer.textContent = text;
  }

  #say() {
    this.#timer = 0;
    const last = this.#waiting.at(-1);
    const more = this.#waiting.length - 1;
    this.#waiting = [];
    this.announce(more > 0 ? `${more + 1} new messages, the last from ${last}` : last);
  }

  get #wanted() {
    return (
      "Notification" in window &&
      Notification.permission === "granted" &&
      localStorage.getItem("centrala.notify") === "on"
    );
  }

  #notify(chat, row, text) {
    const { chats } = this.#session;
    const title = chat.kind === "direct" ? row.username : `${row.username} · ${chats.title(chat)}`;
    const notification = new Notification(title, { body: text, tag: chat.key, icon: "icon.svg" });
    notification.onclick = () => {
      window.focus();
      location.hash = chat.key;
      notification.close();
    };
  }

  async #toggle() {
    const on = this.#wanted;
    localStorage.setItem("centrala.notify", on ? "off" : "on");
    if (!on && Notification.permission !== "granted") {
      const permission = await Notification.requestPermission();
      if (permission !== "granted") this.announce("The browser does not allow notifications here.");
    }
    this.#drawBell();
  }

  #drawBell() {
    // Browsers have them only where the page's origin is trusted.
    this.#bell.hidden = !("Notification" in window) || !window.isSecureContext;
    if (this.#bell.hidden) return;
    const denied = Notification.permission === "denied";
    const label = denied ? "Notifications are blocked by the browser" : "Desktop notifications";
    this.#bell.setAttribute("aria-pressed", String(this.#wanted));
    this.#bell.setAttribute("aria-label", label);
    this.#bell.title = `${label}: ${this.#wanted ? "on" : "off"}`;
    this.#bell.replaceChildren(icon(this.#wanted ? "bell" : "bell-off"));
  }
}
