// The page in Chromium, against the real server. Run by tests/page.rs.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { Exchange } from "./exchange.mjs";
import { PHONE, Person, WIDE, launch } from "./people.mjs";
import { png } from "./pictures.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** Runs a story with a server of its own. People come by `come(name)`; by `person(name)` they log in, too. */
function story(name, tell) {
  test(name, { timeout: 15 * 60_000 }, async () => {
    const exchange = await Exchange.start();
    const people = [];
    const come = async (...args) => {
      people.push(await Person.come(browser, exchange, ...args));
      return people.at(-1);
    };
    const person = async (...args) => {
      const one = await come(...args);
      await one.page.goto(exchange.url);
      await one.logIn();
      return one;
    };
    try {
      await tell({ exchange, come, person });
    } catch (error) {
      for (const one of people) console.error(await one.report());
      console.error(`== the server's log\n${exchange.log}`);
      throw error;
    } finally {
      for (const one of people) await one.context.close().catch(() => {});
      await exchange.stop();
    }
    for (const { name: who, errors } of people) assert.deepEqual(errors, [], `errors on the page of ${who}`);
  });
}

/** An image as a file of the page's user. */
const file = (name, buffer) => ({ name, mimeType: "image/png", buffer });

story("two people find an advert, talk in its room, privately about it, and by DM", async ({ exchange, person }) => {
  const anna = await person("anna");
  await anna.create("rower");
  const bartek = await person("bartek");
  await bartek.join("rower");
  await anna.page.locator(".presence", { hasText: "bartek joined" }).waitFor();
  await bartek.say("Is it <b>still</b> there?\nhttps://example.org/a");
  await anna.reads(["bartek: Is it <b>still</b> there?\nhttps://example.org/a"]);
  await anna.say("Yes.");
  const both = ["bartek: Is it <b>still</b> there?\nhttps://example.org/a", "anna: Yes."];
  await anna.reads(both);
  await bartek.reads(both);
  assert.equal(await anna.page.locator(".text b").count(), 0, "a text is no markup");
  const link = anna.page.getByRole("link", { name: "https://example.org/a", exact: true });
  assert.match(await link.getAttribute("rel"), /noopener/);

  // Privately: the advert's owner sees it among the chats, with its count.
  await bartek.page.getByRole("button", { name: "Write privately to anna" }).click();
  await bartek.page.locator("#chat-subtitle", { hasText: "Private, about rower" }).waitFor();
  await bartek.ready();
  await anna.page.locator(".presence", { hasText: "bartek left" }).waitFor();
  await bartek.say("What does it cost?");
  await anna.count("bartek", 1);
  await anna.open("bartek");
  await anna.reads(["bartek: What does it cost?"]);
  await anna.say("300");
  await bartek.reads(["bartek: What does it cost?", "anna: 300"]);

  // By DM, found among the people. A chat with the same person stands above it.
  await bartek.page.goto(`${exchange.url}#0/1`);
  await bartek.page.locator("#chat-subtitle", { hasText: "Direct messages" }).waitFor();
  await bartek.ready();
  await bartek.say("Another thing");
  await bartek.reads(["bartek: Another thing"]);
  await anna.page.locator('a[href="#0/2"] .count', { hasText: "1" }).waitFor();
  await anna.page.locator('a[href="#0/2"]').first().click();
  await anna.reads(["bartek: Another thing"]);
});

story("an image is sent and seen, after a restart too; others are refused before they are sent", async ({ exchange, person }) => {
  const anna = await person("anna");
  await anna.create("news");
  const bartek = await person("bartek", { viewport: PHONE });
  await bartek.join("news");
  await anna.page.locator("#file").setInputFiles(file("dusk.png", png(320, 200)));
  await anna.page.locator(".pick", { hasText: "dusk.png" }).waitFor();
  await anna.page.getByRole("button", { name: "Send" }).click();

  const seen = async ({ page }) => {
    const image = await page.locator(".picture img").first().elementHandle();
    await page.waitForFunction((img) => img.complete && img.naturalWidth === 320, image);
    assert.equal(await image.evaluate((img) => img.naturalHeight), 200);
  };
  await seen(anna);
  await seen(bartek);
  await bartek.picture("image-phone");
  await anna.page.getByRole("button", { name: "Show dusk.png in full size" }).click();
  await anna.page.locator("#viewer[open] img").waitFor();
  await anna.picture("image-viewer");
  await anna.page.keyboard.press("Escape");

  // Not by its bytes; then too long, until it is made smaller.
  await anna.page.locator("#file").setInputFiles(file("notes.png", Buffer.from("no image")));
  await anna.page.getByText("“notes.png” is no image that can be sent").waitFor();
  await anna.page.locator("#file").setInputFiles(file("large.png", png(640, 400, 2 << 20)));
  await anna.page.getByText("at most 1 MiB can be sent").waitFor();
  await anna.picture("image-too-large");
  await anna.page.getByRole("button", { name: "Send" }).click();
  await anna.page.getByText("One of the images is too large").waitFor();
  await anna.page.getByRole("button", { name: "Make it smaller" }).click();
  await anna.page.locator(".pick", { hasText: "large.jpg" }).waitFor();
  await anna.page.getByRole("button", { name: "Send" }).click();
  await bartek.reads(["anna: [Show dusk.png in full size]", "anna: [Show large.jpg in full size]"]);

  // By paste and by drop.
  const bytes = [...png(8, 8)];
  await anna.page.evaluate((content) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(content)], "pasted.png", { type: "image/png" }));
    const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
    document.querySelector("#text").dispatchEvent(event);
  }, bytes);
  await anna.page.locator(".pick", { hasText: "pasted.png" }).waitFor();
  await anna.page.evaluate((content) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([new Uint8Array(content)], "dropped.png", { type: "image/png" }));
    for (const type of ["dragenter", "dragover", "drop"]) {
      const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
      document.querySelector("#log").dispatchEvent(event);
    }
  }, bytes);
  await anna.page.locator(".pick", { hasText: "dropped.png" }).waitFor();
  await anna.page.getByRole("button", { name: "Remove pasted.png" }).click();
  await anna.page.getByRole("button", { name: "Send" }).click();
  await bartek.page.getByRole("button", { name: "Show dropped.png in full size" }).waitFor();

  await exchange.kill();
  await exchange.startAgain();
  await bartek.page.reload();
  await bartek.connected();
  await bartek.ready();
  await bartek.page.locator(".picture").first().scrollIntoViewIfNeeded();
  await seen(bartek);
});

story("what the topics client publishes is in the room, and counted elsewhere", async ({ exchange, person }) => {
  const anna = await person("anna");
  await anna.create("news");
  await exchange.topics("ola", "join", "news");
  await exchange.topics("ola", "send", "#news", "from System V");
  await anna.reads(["ola: from System V"]);
  await anna.page.keyboard.press("Escape");
  await exchange.topics("ola", "send", "#news", "one more");
  await anna.count("news", 1);
  await anna.titled("(1) Centrala");
  // And back: who writes on the page is heard there. The client prints what it gets and ends.
  await anna.open("news");
  await anna.reads(["ola: from System V", "ola: one more"]);
  await anna.say("from a browser");
  await anna.reads(["ola: from System V", "ola: one more", "anna: from a browser"]);
  const heard = await exchange.topics("ola", "listen", "--sync", "news");
  assert.match(heard, /from a browser/);
});

story("a server that is killed and starts again: nothing is missing and nothing doubled", async ({ exchange, person }) => {
  const anna = await person("anna");
  await anna.create("news");
  const bartek = await person("bartek", { colorScheme: "dark" });
  await bartek.join("news");
  await exchange.topics("ola", "join", "news");
  const expected = [];
  for (const [who, text] of [[anna, "one"], [bartek, "two"], [anna, "three"]]) {
    await who.say(text);
    expected.push(`${who.name}: ${text}`);
    await anna.reads(expected);
  }
  await bartek.reads(expected);

  await exchange.kill();
  for (const one of [anna, bartek]) await one.page.getByText("No connection.").first().waitFor();
  await anna.say("written without a server");
  await anna.page.getByText("Is sent once the connection is back.").waitFor();
  await anna.picture("no-connection");
  await bartek.picture("no-connection-dark");
  await exchange.startAgain();
  // Perhaps before they are back.
  await exchange.topics("ola", "send", "#news", "said while they were away");
  for (const one of [anna, bartek]) await one.connected();
  for (const one of [anna, bartek]) await one.shows(5);
  const said = await anna.said();
  assert.deepEqual(said.slice(0, 3), expected);
  assert.deepEqual(said.slice(3).sort(), ["anna: written without a server", "ola: said while they were away"]);
  await bartek.reads(said);
  assert.equal(await anna.page.locator("#unsent li").count(), 0);

  // It is what the server keeps: a page that is loaded anew reads the same.
  await bartek.page.reload();
  await bartek.connected();
  await bartek.reads(said);
  await bartek.say("again");
  await anna.reads([...said, "bartek: again"]);
});

story("a message whose answer is lost on the way is neither lost nor doubled", async ({ exchange, come, person }) => {
  const bartek = await person("bartek");
  await bartek.create("news");
  const anna = await come("anna");
  // What the wire does to a message: "kept" arrives and its answer does not; "lost" does not arrive.
  await anna.page.routeWebSocket(/socket\.io/, (page) => {
    const server = page.connectToServer();
    let deaf = false;
    const cut = () => {
      deaf = true;
      page.close();
      server.close();
    };
    page.onMessage((frame) => {
      if (String(frame).includes('"lost"')) return void cut();
      if (String(frame).includes('"kept"')) deaf = true;
      server.send(frame);
    });
    server.onMessage((frame) => {
      if (!deaf) page.send(frame);
      else if (String(frame).startsWith('42["chat-response"')) cut();
    });
  });
  await anna.page.goto(exchange.url);
  await anna.logIn();
  await anna.join("news");
  await anna.say("kept");
  await anna.reads(["anna: kept"]);
  await bartek.reads(["anna: kept"]);
  await anna.until("nothing is unsent", () => document.querySelector("#unsent").childElementCount === 0);

  await anna.say("lost");
  await anna.page.getByText("it did not arrive").waitFor();
  await anna.picture("not-sent");
  await bartek.reads(["anna: kept"]);
  await anna.page.getByRole("button", { name: "Edit" }).click();
  const text = anna.page.getByLabel("Message", { exact: true });
  assert.equal(await text.inputValue(), "lost");
  await text.fill("found");
  await text.press("Enter");
  await bartek.reads(["anna: kept", "anna: found"]);
  await anna.reads(["anna: kept", "anna: found"]);
});

story("new messages are counted in the list and the title, until they are read", async ({ exchange, person }) => {
  const anna = await person("anna");
  await anna.create("news");
  const bartek = await person("bartek");
  await bartek.join("news");
  await anna.goTo("0/2", "bartek");
  await bartek.say("one");
  await bartek.say("two");
  await bartek.reads(["bartek: one", "bartek: two"]);
  await anna.count("news", 2);
  await anna.titled("(2) bartek · Centrala");
  await anna.page.locator("#announcer", { hasText: "bartek in news: two" }).or(
    anna.page.locator("#announcer", { hasText: "the last from bartek in news: two" })).waitFor({ state: "attached" });
  await anna.picture("counts");

  // The server's count holds after the page is loaded anew.
  await anna.page.reload();
  await anna.connected();
  await anna.count("news", 2);
  await anna.open("news");
  await anna.reads(["bartek: one", "bartek: two"]);
  await anna.count("news", 0);
  await anna.titled("news · Centrala");
  await anna.page.locator("#log .new").waitFor();

  // A DM that was not read stays new, though the server takes it for seen when its reader goes.
  await bartek.goTo("0/1", "anna");
  await bartek.say("a word");
  await anna.page.locator('a[href="#0/2"] .count', { hasText: "1" }).waitFor();
  await anna.page.reload();
  await anna.connected();
  await anna.page.locator('a[href="#0/2"] .count', { hasText: "1" }).waitFor();
  await anna.page.locator('a[href="#0/2"]').first().click();
  await anna.reads(["bartek: a word"]);
  await anna.titled("bartek · Centrala");
  await anna.page.reload();
  await anna.connected();
  await anna.titled("bartek · Centrala");
});

story("the desktop is told only for who turned it on, and not of what is before the eyes", async ({ exchange, come, person }) => {
  const bartek = await person("bartek");
  await bartek.create("news");
  const anna = await come("anna");
  const { page } = anna;
  // In the place of the desktop, which a browser without a screen has not.
  await page.addInitScript(() => {
    window.told = [];
    window.Notification = class {
      static permission = "default";
      static requestPermission = async () => (window.Notification.permission = "granted");
      constructor(title, { body }) {
        window.told.push(`${title}: ${body}`);
      }
      close() {}
    };
  });
  await page.goto(exchange.url);
  await anna.logIn();
  await anna.join("news");
  await bartek.goTo("0/2", "anna");
  await bartek.say("not asked for");
  await page.locator('a[href="#0/1"] .count', { hasText: "1" }).waitFor();
  await page.getByRole("button", { name: "Desktop notifications" }).click();
  await page.locator('#notify[aria-pressed="true"]').waitFor();
  await bartek.say("elsewhere");
  await page.locator('a[href="#0/1"] .count', { hasText: "2" }).waitFor();
  await page.locator('a[href="#0/1"]').first().click();
  await anna.reads(["bartek: not asked for", "bartek: elsewhere"]);
  await bartek.say("before her eyes");
  await anna.reads(["bartek: not asked for", "bartek: elsewhere", "bartek: before her eyes"]);
  assert.deepEqual(await page.evaluate(() => window.told), ["bartek: elsewhere"]);
});

story("two tabs of a person are one session, and neither puts the other out of the room", async ({ person }) => {
  const anna = await person("anna");
  await anna.create("news");
  const other = await person("anna");
  await other.open("news");
  await other.ready();
  const bartek = await person("bartek");
  await bartek.join("news");
  await bartek.say("one");
  await anna.reads(["bartek: one"]);
  await other.reads(["bartek: one"]);
  await other.say("two");
  await anna.reads(["bartek: one", "anna: two"]);
  // One tab goes elsewhere, which leaves the room for both: the first enters it again by itself.
  await other.goTo("0/2", "bartek");
  await anna.say("three");
  const all = ["bartek: one", "anna: two", "anna: three"];
  await bartek.reads(all);
  await anna.reads(all);
  await bartek.say("four");
  await anna.reads([...all, "bartek: four"]);
  await other.open("news");
  await other.reads([...all, "bartek: four"]);
});

story("everything is done by keyboard, and the focus is always to be seen", async ({ exchange, come, person }) => {
  const bartek = await person("bartek");
  const anna = await come("anna");
  const { page } = anna;
  const press = (key) => page.keyboard.press(key);
  const type = (text) => page.keyboard.type(text);
  const focused = (what) =>
    anna.until(`the focus on ${what}`, (selector) => document.activeElement?.matches(selector), what);
  /** Goes on until the focus is there, and sees it on each step. */
  const tabTo = async (what, key = "Tab") => {
    for (let n = 0; n < 40; n += 1) {
      if (await page.evaluate((selector) => document.activeElement?.matches(selector), what)) return;
      await press(key);
      const outline = await page.evaluate(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        return { at: document.activeElement.outerHTML.slice(0, 80), outlineStyle, width: parseFloat(outlineWidth) };
      });
      assert.ok(outline.outlineStyle !== "none" && outline.width >= 2, JSON.stringify(outline));
    }
    assert.fail(`${what} is not reached by ${key}`);
  };

  await page.goto(exchange.url);
  await focused("#name");
  await type("anna");
  await press("Enter");
  await anna.connected();
  await focused("#search");
  await tabTo("#new-advert");
  await press("Enter");
  await focused("#advert-name");
  await press("Escape");
  await focused("#new-advert");
  await press("Enter");
  await focused("#advert-name");
  await type("flat to let");
  await press("Enter");
  await focused("#text");
  await anna.ready();
  await type("Two rooms,");
  await press("Shift+Enter");
  await type("from December");
  await press("Enter");
  await anna.reads(["anna: Two rooms,\nfrom December"]);

  // Back to the list, to a person whom the search finds.
  await press("Escape");
  await focused('a[href="#1/0"]');
  await press("ArrowUp");
  await focused("#search");
  await type("bart");
  await press("ArrowDown");
  await focused('a[href="#0/1"]');
  await press("Enter");
  await focused("#text");
  await anna.ready();
  await type("Are you there?");
  await press("Enter");
  await anna.reads(["anna: Are you there?"]);
  await bartek.page.locator('a[href="#0/2"]').first().waitFor();
  await tabTo("#scroller", "Shift+Tab");
  await tabTo("#text");
  await tabTo("#send");
  await press("Escape");
  await focused('a[href="#0/1"]');

  // An image by keyboard: the button opens the system's dialog.
  await press("Enter");
  await focused("#text");
  // Well before it opens: a press of a key overtakes what tells the browser to leave it to us.
  const chooser = page.waitForEvent("filechooser");
  await tabTo("#attach", "Shift+Tab");
  await press("Enter");
  await (await chooser).setFiles(file("a.png", png(40, 30)));
  await page.locator(".pick", { hasText: "a.png" }).waitFor();
  await focused("#text");
  await press("Enter");
  await page.locator(".picture img").waitFor();
  await tabTo(".picture", "Shift+Tab");
  await press("Enter");
  await page.locator("#viewer[open]").waitFor();
  await press("Escape");
  await focused(".picture");

  // Out.
  await tabTo("#log-out", "Shift+Tab");
  await press("Enter");
  await page.locator("#log-in").waitFor();
  assert.equal(await page.getByLabel("Your name").inputValue(), "anna", "the name is remembered");
});

story("a long chat is read page by page, in order, and what is read stays in place", async ({ exchange, person }) => {
  const anna = await person("anna");
  await anna.create("news");
  await anna.page.keyboard.press("Escape");
  const text = (number) => `message ${number}${number % 10 ? "" : ` ${"and more ".repeat(40)}`}`;
  const all = Array.from({ length: 2_300 }, (_, number) => text(number));
  for (let at = 0; at < all.length; at += 100) await exchange.say("zofia", "#news", all.slice(at, at + 100));
  await anna.open("news");
  const shown = () => anna.page.locator("#log .message").count();
  await anna.shows(1_000);
  const atEnd = () => anna.until("the end is in view", () => {
    const { scrollHeight, scrollTop, clientHeight } = document.querySelector("#scroller");
    return scrollHeight - scrollTop - clientHeight < 5;
  });
  await atEnd();
  for (const expected of [1_999, 2_300]) {
    await anna.page.locator("#scroller").evaluate((scroller) => (scroller.scrollTop = 0));
    await anna.page.locator("#to-end").waitFor();
    const first = anna.page.locator("#log .message").first();
    const id = await first.getAttribute("data-id");
    const place = () => anna.page.locator(`[data-id="${id}"]`).evaluate((row) => row.getBoundingClientRect().top);
    const before = await place();
    await anna.page.getByRole("button", { name: "Load older messages" }).click();
    await anna.shows(expected);
    assert.ok(Math.abs((await place()) - before) < 2, "what was on top is still there");
  }
  assert.equal(await anna.page.getByRole("button", { name: "Load older messages" }).count(), 0);
  assert.equal(await shown(), 2_300);
  await anna.reads(all.map((one) => `zofia: ${one}`));
  // Somebody speaks while one reads what is old: told, and not carried away.
  await exchange.say("zofia", "#news", ["news of now"]);
  await anna.page.getByRole("button", { name: "1 new" }).click();
  await atEnd();
});

story("a page that comes back to a server that does not answer says so, and goes on once it does", async ({ exchange, come }) => {
  const anna = await come("anna");
  const { page } = anna;
  let away = false;
  await page.routeWebSocket(/socket\.io/, (socket) => {
    if (away) socket.close();
    else socket.connectToServer();
  });
  await page.goto(exchange.url);
  await anna.logIn();
  await anna.create("news");
  away = true;
  await page.reload();
  await page.getByText("The server does not answer. Trying again…").waitFor();
  assert.equal(await page.getByLabel("Your name").inputValue(), "anna");
  away = false;
  await anna.connected();
  await page.locator("#log-in").waitFor({ state: "hidden" });
  await page.locator("#chat-title", { hasText: "news" }).waitFor();

  // What an address names and is not there is said, and is no chat of hers.
  await page.goto(`${exchange.url}#77/0`);
  await page.getByText("There is no such advert.").waitFor();
  assert.equal(await page.getByRole("button", { name: "Join" }).count(), 0);
  await page.goto(`${exchange.url}#0/99`);
  await page.getByText("This chat cannot be entered: No such user").waitFor();
  await anna.until("no entry for it", () => !document.querySelector('.entry a[href="#0/99"]'));
});

story("a password is asked for, and a refusal says why", async ({ exchange, come }) => {
  const anna = await come("#anna");
  const { page } = anna;
  await page.goto(exchange.url);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("Please say who you are.").waitFor();
  await page.getByLabel("Your name").fill("#anna");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").filter({ hasText: "A name does not begin with “#”." }).waitFor();
  await anna.picture("log-in-refused");
  await page.getByLabel("Your name").fill("anna");
  await page.getByRole("button", { name: "Log in" }).click();
  await anna.connected();
  await page.getByRole("button", { name: "New advert" }).click();
  await page.getByLabel("Name", { exact: true }).fill("#no name");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("A name does not begin with “#”.").waitFor();
  await page.getByLabel("Name", { exact: true }).fill("rower górski, prawie nowy, 28 cali");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("A name has at most 29 characters").waitFor();
  await page.keyboard.press("Escape");
  // Too long for the exchange: told, kept, and sent once it is shorter.
  await anna.create("news");
  await anna.say("x".repeat(5_000));
  await page.getByText("Not sent. Too long").waitFor();
  await page.getByRole("button", { name: "Discard" }).click();
  await anna.say("short");
  await anna.reads(["anna: short"]);
});

story("what a person sees keeps the rules of accessibility, wide and narrow, light and dark", async ({ exchange, come, person }) => {
  const rules = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  const bartek = await person("bartek");
  await bartek.create("news");
  await bartek.page.locator("#file").setInputFiles(file("dusk.png", png(320, 200)));
  await bartek.say("Good morning");
  await exchange.say("zofia", "#news", ["Dzień dobry", "שלום", "long".repeat(60)]);
  for (const [name, viewport, colorScheme] of [
    ["wide-light", WIDE, "light"],
    ["wide-dark", WIDE, "dark"],
    ["phone-light", PHONE, "light"],
    ["phone-dark", PHONE, "dark"],
  ]) {
    // The rules are put into the page, which the page's own policy forbids.
    const options = { viewport, colorScheme, bypassCSP: true };
    const anna = await come("anna", options);
    const { page } = anna;
    const check = async (what) => {
      await anna.picture(`${name}-${what}`);
      await page.evaluate(rules);
      const { violations } = await page.evaluate(() => window.axe.run(document));
      const told = violations.map(({ id, help, nodes }) => [id, help, nodes.map(({ html }) => html)]);
      assert.deepEqual(told, [], `${name}: ${what}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${name}: ${what} is wider than the window by ${wide}`);
    };
    await page.goto(exchange.url);
    await check("log-in");
    await anna.logIn();
    await check("list");
    await anna.open("news");
    await check("outside");
    if ((await page.getByRole("button", { name: "Join" }).count()) > 0) {
      await page.getByRole("button", { name: "Join" }).click();
    }
    await anna.ready();
    await page.locator(".picture img").waitFor();
    await anna.say("x".repeat(5_000));
    await page.getByText("Not sent. Too long").waitFor();
    await check("room");
    await page.getByRole("button", { name: "Discard" }).click();
    if (viewport === PHONE) await page.getByRole("link", { name: "Back to the list" }).click();
    await page.getByRole("button", { name: "New advert" }).click();
    await check("dialog");
    await anna.leave();
  }
});
