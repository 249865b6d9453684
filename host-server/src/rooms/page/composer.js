// Where a person writes: text, images to send, and what could not be sent.

import { byId, el, icon, keepFocus, sizeOf } from "./dom.js";
import { LONGEST, check, shrink } from "./images.js";

/** What is sent at once is not shown on its way; what takes longer (milliseconds) is. */
const SLOW = 500;

export class Composer {
  #session;
  #text = byId("text");
  #picked = byId("picked");
  #error = byId("composer-error");
  #unsent = byId("unsent");
  #drop = byId("drop");
  /** By chat: what is written and picked, and not sent. */
  #drafts = new Map();
  #key = null;
  #drawn = "[]";
  #timer = 0;
  #since = new WeakMap();

  /** `leave()` goes back to the list. */
  constructor(session, leave) {
    this.#session = session;
    const form = byId("composer");
    const file = byId("file");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener("input", () => {
      this.#draft.text = this.#text.value;
      this.#grow();
    });
    this.#text.addEventListener("keydown", (event) => {
      // While a word is being composed, Enter chooses it.
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.#send();
      } else if (event.key === "Escape") {
        leave();
      }
    });
    this.#text.addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (files.length === 0) return;
      event.preventDefault();
      this.#pick(files);
    });
    byId("attach").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.#pick([...file.files]);
      file.value = "";
    });
    this.#dropsOn(byId("room"));
  }

  /** The open chat is another one, or none. */
  open(key) {
    this.#key = key;
    if (key === null) return;
    this.#text.value = this.#draft.text;
    this.#grow();
    this.#drawPicked();
    this.#say("");
    this.draw();
  }

  focus() {
    this.#text.focus();
  }

  /** Written texts by chat, for when the page comes back. */
  save() {
    const entries = [...this.#drafts].map(([key, { text }]) => [key, text]);
    return entries.filter(([, text]) => text !== "");
  }

  restore(entries) {
    for (const [key, text] of entries) this.#drafts.set(key, { text, picked: [] });
  }

  clear() {
    this.#drafts.clear();
  }

  /** Whether an image would be lost with the page. */
  get holdsImages() {
    return [...this.#drafts.values()].some(({ picked }) => picked.length > 0);
  }

  /** Shows what is not sent yet. */
  draw() {
    clearTimeout(this.#timer);
    if (this.#key === null) return;
    const now = Date.now();
    const items = this.#session.outgoing.of(this.#key).filter((item) => {
      if (item.shown && item.state === "sending") return false;
      if (item.state === "failed" || item.state === "unsure") return true;
      if (this.#session.state !== "in") return true;
      if (!this.#since.has(item)) this.#since.set(item, now);
      return now - this.#since.get(item) >= SLOW;
    });
    const waits = this.#session.outgoing.of(this.#key).length > items.length;
    if (waits) this.#timer = setTimeout(() => this.draw(), SLOW);
    // Drawn anew it would be told anew, and lose the focus.
    const drawn = items.map(({ tag, state, reason }) => [tag, state, reason, this.#session.state]);
    if (JSON.stringify(drawn) === this.#drawn) return;
    this.#drawn = JSON.stringify(drawn);
    const elements = items.map((item) => this.#item(item));
    if (!keepFocus(this.#unsent, () => this.#unsent.replaceChildren(...elements))) this.focus();
  }

  get #draft() {
    if (!this.#drafts.has(this.#key)) this.#drafts.set(this.#key, { text: "", picked: [] });
    return this.#drafts.get(this.#key);
  }

  #send() {
    const draft = this.#draft;
    if (draft.picked.some(({ data }) => data.length > LONGEST)) {
      this.#say("One of the images is too large: make it smaller or remove it.");
      return;
    }
    for (const { name, type, data } of draft.picked) {
      this.#session.send({ image: { name, type, data } });
    }
    if (draft.text.trim() !== "") this.#session.send({ text: draft.text });
    else if (draft.picked.length === 0) return;
    draft.text = "";
    draft.picked = [];
    this.#text.value = "";
    this.#grow();
    this.#drawPicked();
    this.#say("");
    this.#text.focus();
  }

  #grow() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }

  #say(error) {
    this.#error.textContent = error;
    this.#error.hidden = error === "";
  }

  async #pick(files) {
    const draft = this.#draft;
    this.#say("");
    for (const file of files) {
      try {
        draft.picked.push(await check(file));
      } catch (error) {
        this.#say(error.message);
      }
    }
    this.#drawPicked();
    this.#text.focus();
  }

  #drawPicked() {
    const { picked } = this.#draft;
    this.#picked.hidden = picked.length === 0;
    this.#picked.replaceChildren(...picked.map((image) => this.#pickedImage(image)));
  }

  #pickedImage(image) {
    const { name, type, data } = image;
    const address = URL.createObjectURL(new Blob([data], { type }));
    const preview = el("img", { alt: "", onload: () => URL.revokeObjectURL(address) });
    preview.src = address;
    const long = data.length > LONGEST;
    const remove = () => {
      this.#draft.picked = this.#draft.picked.filter((other) => other !== image);
      this.#say("");
      this.#drawPicked();
      this.#text.focus();
    };
    const about = el("div", { class: "about" },
      el("span", { class: "name", dir: "auto" }, name),
      el("span", { class: long ? "size error" : "size muted", role: long ? "alert" : null },
        long ? `${sizeOf(data.length)}: at most ${sizeOf(LONGEST)} can be sent.` : sizeOf(data.length)));
    const smaller = () => this.#makeSmaller(image);
    return el("div", { class: "pick" }, preview, about,
      long ? el("button", { type: "button", class: "outlined", onclick: smaller }, "Make it smaller") : null,
      el("button", {
        type: "button",
        class: "plain",
        "aria-label": `Remove ${name}`,
        title: "Remove",
        onclick: remove,
      }, icon("close")));
  }

  async #makeSmaller(image) {
    const draft = this.#draft;
    const smaller = await shrink(image);
    const at = draft.picked.indexOf(image);
    if (at < 0) return;
    if (smaller) draft.picked[at] = smaller;
    if (draft !== this.#draft) return;
    this.#say(smaller ? "" : "This browser cannot make the image small enough.");
    this.#drawPicked();
    this.#text.focus();
  }

  #item(item) {
    const session = this.#session;
    const says = {
      waiting: session.state === "in" ? "Sending…" : "Is sent once the connection is back.",
      sending: "Sending…",
      unsure: "The connection broke. Whether it arrived shows once it is back.",
      failed: `Not sent. ${item.reason}`,
    };
    const what = item.image ? `Image ${item.image.name}` : item.text;
    const button = (label, onclick) =>
      el("button", { type: "button", class: "outlined", onclick }, label);
    const failed = item.state === "failed";
    const retry = () => {
      session.retry(item);
      this.#text.focus();
    };
    const edit = () => {
      session.discard(item);
      this.#draft.text = [item.text, this.#draft.text].filter(Boolean).join("\n");
      this.open(this.#key);
      this.#text.focus();
    };
    const discard = () => {
      session.discard(item);
      this.#text.focus();
    };
    return el("li", { class: failed ? "item failed" : "item", "data-id": item.tag },
      failed ? icon("warning") : null,
      el("div", { class: "about", role: failed ? "alert" : null },
        el("span", { class: "what", dir: "auto" }, what),
        el("span", { class: "why" }, says[item.state])),
      failed ? button("Try again", retry) : null,
      failed && !item.image ? button("Edit", edit) : null,
      failed || item.state === "waiting" ? button("Discard", discard) : null);
  }

  #dropsOn(target) {
    // Entering a child comes before leaving its parent.
    let depth = 0;
    const show = (step) => {
      depth = step === 0 ? 0 : Math.max(0, depth + step);
      this.#drop.hidden = depth === 0;
    };
    const bears = (event) => event.dataTransfer?.types.includes("Files");
    target.addEventListener("dragenter", (event) => bears(event) && show(1));
    target.addEventListener("dragleave", (event) => bears(event) && show(-1));
    target.addEventListener("dragover", (event) => bears(event) && event.preventDefault());
    target.addEventListener("drop", (event) => {
      if (!bears(event)) return;
      event.preventDefault();
      show(0);
      this.#pick([...event.dataTransfer.files]);
    });
  }
}
