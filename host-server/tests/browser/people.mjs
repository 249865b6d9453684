// People with browsers: each has one of their own, and does what a person does.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";
import { LONG } from "./exchange.mjs";

const PICTURES = process.env.CENTRALA_SCREENSHOTS;
let pictures = 0;

/** Without these it asks for things elsewhere, and complains where it may not. */
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const launch = () =>
  chromium.launch({ executablePath: process.env.CENTRALA_CHROMIUM, args: ARGUMENTS, timeout: LONG });

export const WIDE = { width: 1200, height: 780 };
export const PHONE = { width: 390, height: 780 };

export class Person {
  errors = [];
  /** What they did, and when. */
  #steps = [];

  /** Comes to the server's page with a browser of their own. */
  static async come(browser, exchange, name, options = {}) {
    const person = new Person();
    person.name = name;
    person.exchange = exchange;
    // Without motion no colour is in between when it is looked at.
    const defaults = { viewport: WIDE, colorScheme: "light", locale: "en-GB", reducedMotion: "reduce" };
    person.context = await browser.newContext({ ...defaults, ...options });
    person.context.setDefaultTimeout(LONG);
    person.page = await person.context.newPage();
    person.page.on("pageerror", (error) => person.errors.push(error.stack));
    person.page.on("console", (message) => {
      // While the server is away, each try to connect is such a message.
      const away = /WebSocket connection to|Failed to load resource/.test(message.text());
      if (message.type() === "error" && !away) person.errors.push(message.text());
    });
    return person;
  }

  async logIn(password = "") {
    this.#note("logs in");
    await this.page.getByLabel("Your name").fill(this.name);
    if (password) await this.page.getByLabel("Password").fill(password);
    await this.page.getByRole("button", { name: "Log in" }).click();
    await this.connected();
  }

  async connected() {
    await this.page.locator("#status.in").waitFor({ state: "attached" });
    // Its lists are there too.
    await this.page.locator('#lists[aria-busy="false"]').waitFor({ state: "attached" });
    this.#note("is connected");
  }

  /** The page said nothing of an error. Goes away. */
  async leave() {
    await this.context.close();
    assert.deepEqual(this.errors, [], `errors on the page of ${this.name}`);
  }

  #note(step) {
    this.#steps.push(`${new Date().toISOString().slice(11, 23)} ${step}`);
  }

  /** Waits until a function holds on the page; `what` is said when it never does. */
  async until(what, holds, argument) {
    try {
      await this.page.waitForFunction(holds, argument);
    } catch (cause) {
      throw new Error(`${this.name} waited in vain: ${what}`, { cause });
    }
    this.#note(`found: ${what}`);
  }

  /** All that is to be known of a person when their story goes wrong; keeps a picture, too. */
  async report() {
    const quick = { timeout: 10_000 };
    const unless = (error) => `(${error.message.split("\n")[0]})`;
    const focus = () => document.activeElement?.outerHTML.slice(0, 200);
    const picture = path.join(PICTURES, `failed-${this.name.replace(/\W/g, "")}-${pictures++}.png`);
    const shown = await this.page.locator("body").ariaSnapshot(quick).catch(unless);
    return [
      `== ${this.name} at ${this.page.url()}, titled ${await this.page.title().catch(unless)}`,
      `focus: ${await this.page.evaluate(focus).catch(unless)}`,
      `errors: ${this.errors.join("\n") || "none"}`,
      `picture: ${await this.page.screenshot({ path: picture, ...quick }).then(() => picture, unless)}`,
      ...this.#steps.slice(-30),
      // The end of what was said last, and not all of a long chat.
      shown.length < 6_000 ? shown : `${shown.slice(0, 3_000)}\n…\n${shown.slice(-3_000)}`,
    ].join("\n");
  }

  entry(title) {
    return this.page.locator(".entry a", { has: this.page.getByText(title, { exact: true }) });
  }

  async open(title) {
    // Nobody looks into a closed section.
    await this.page.evaluate(() => {
      for (const section of document.querySelectorAll("details")) section.open = true;
    });
    await this.entry(title).first().click();
    await this.#opened(title);
  }

  /** Opens a chat by its address, as a bookmark does. */
  async goTo(key, title) {
    await this.page.goto(`${this.exchange.url}#${key}`);
    // The address is there before the page has followed it.
    await this.#opened(title);
    await this.ready();
  }

  async #opened(title) {
    await this.page.locator("#chat-title", { hasText: title }).waitFor();
    this.#note(`opened ${title}`);
  }

  async create(advert) {
    await this.page.getByRole("button", { name: "New advert" }).click();
    await this.page.getByLabel("Name", { exact: true }).fill(advert);
    await this.page.getByRole("button", { name: "Create" }).click();
    await this.#opened(advert);
    await this.ready();
  }

  /** Joins an advert of somebody else, which may be new. */
  async join(advert) {
    await this.open(advert);
    await this.page.getByRole("button", { name: "Join" }).click();
    await this.ready();
  }

  /** The open chat is entered, and read. */
  async ready() {
    await this.page.locator('#scroller[aria-busy="false"]').waitFor();
    this.#note("is in it");
  }

  async say(text) {
    await this.page.getByLabel("Message", { exact: true }).fill(text);
    await this.page.getByRole("button", { name: "Send" }).click();
    this.#note(`said ${text.slice(0, 60)}`);
  }

  /** What is said in the open chat: "who: text", an image by its name. */
  said() {
    return this.page.evaluate(() =>
      [...document.querySelectorAll("#log .message")].map((message) => {
        const image = message.querySelector(".picture");
        const text = image
          ? `[${image.getAttribute("aria-label")}]`
          : message.querySelector(".text").textContent;
        return `${message.querySelector(".author").textContent}: ${text}`;
      }),
    );
  }

  /** Waits until the open chat has exactly this. */
  async reads(expected) {
    const deadline = Date.now() + LONG;
    let said;
    do {
      said = await this.said();
      if (JSON.stringify(said) === JSON.stringify(expected)) return this.#note(`read ${said.length}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    } while (Date.now() < deadline);
    assert.deepEqual(said, expected, `what ${this.name} reads`);
  }

  /** How many new messages the list of chats shows for one of this title. */
  async count(title, expected) {
    const spoken = expected === 0 ? "" : `, ${expected} new`;
    await this.until(
      `${expected} new in ${title}`,
      ([name, text]) =>
        [...document.querySelectorAll("#list-chats .entry")].some(
          (entry) =>
            entry.querySelector(".title").textContent === name &&
            entry.querySelector(".hidden-text").textContent === text,
        ),
      [title, spoken],
    );
  }

  async titled(title) {
    await this.until(`the title ${title}`, (expected) => document.title === expected, title);
  }

  /** Waits until the open chat shows so many messages. */
  async shows(count) {
    const holds = (expected) => document.querySelectorAll("#log .message").length === expected;
    await this.until(`${count} messages are shown`, holds, count);
  }

  /** Keeps a picture of what is to be seen. */
  async picture(name) {
    await this.page.screenshot({ path: path.join(PICTURES, `${name}.png`) });
  }
}

fs.mkdirSync(PICTURES, { recursive: true });
