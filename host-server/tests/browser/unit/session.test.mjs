import assert from "node:assert/strict";
import test from "node:test";
import { module } from "./modules.mjs";

const { Session } = await module("session.js");
const { PAGE } = await module("log.js");

const message = (id, username, text, anons = 1, chat = 0) => ({
  message_id: id,
  anons_id: anons,
  chat_id: chat,
  username,
  message_date: 1_700_000_000_000 + id,
  message_text: text,
});
const said = (id, username, text, anons = 1, chat = 0) =>
  [id, anons, chat, username, 1_700_000_000_000 + id, text];

/** A connection with the server's end in the test's hand: it answers what every test needs. */
class Wire {
  sent = [];
  open = false;
  history = [];
  counts = [{ anons_id: 1, chat_id: 0, AllMsgs: 0, NewMsgs: 0 }];
  refuse = null;
  /** Events that are not answered. */
  mute = new Set();
  restarts = 0;

  start() {
    if (this.open) return;
    this.open = true;
    this.onopen();
  }
  stop() {
    this.open = false;
  }
  again() {
    this.restarts += 1;
    this.break();
  }
  break() {
    this.open = false;
    this.onclose(500);
  }
  say(name, ...args) {
    if (this.open) this.onevent(name, args);
  }
  send(name, ...args) {
    if (!this.open) return false;
    this.sent.push([name, ...args]);
    if (!this.mute.has(name)) queueMicrotask(() => this.answer(name, args));
    return true;
  }
  answer(name, [a, b, c]) {
    switch (name) {
      case "auth-request":
        return this.refuse
          ? this.say("auth-response", -1, this.refuse)
          : this.say("auth-response", 1, "1");
      case "join-chat":
        return this.say("join-chat-response", a, b, "OK");
      case "get-anons":
        return this.say("anons", 1, [{ anons_id: 1, name: "news", owner: "anna" }]);
      case "get-users":
        return this.say("users", 1, [{ user_id: 1, username: "anna", online: true }]);
      case "get-user-chats":
        return this.say("user-chats", this.counts.length, this.counts);
      case "get-chat-messages": {
        const rows = this.history
          .filter((row) => row.anons_id === a && row.chat_id === b && (!c || row.message_id < c))
          .slice(-PAGE);
        return this.say("chat-messages", rows.length, rows);
      }
    }
  }
  /** What was sent of an event. */
  of(name) {
    return this.sent.filter((event) => event[0] === name).map((event) => event.slice(1));
  }
}

const ticks = async () => {
  for (let n = 0; n < 20; n += 1) await Promise.resolve();
};

/** Anna in the room of advert 1. */
async function room(t, prepare = () => {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const wire = new Wire();
  prepare(wire);
  const session = new Session(wire);
  const changes = [];
  session.onchange = (...change) => changes.push(change);
  await session.logIn("anna", "");
  t.mock.timers.tick(100);
  await ticks();
  session.openChat("1/0");
  await ticks();
  return { wire, session, changes, ids: () => session.log.rows.map(({ id }) => id) };
}

test("it logs in, counts, enters the open chat and reads it", async (t) => {
  const { wire, session, ids } = await room(t, (wire) => {
    wire.history = [message(1, "ola", "a"), message(2, "anna", "b")];
    wire.counts[0].NewMsgs = 1;
  });
  assert.deepEqual(wire.sent.map(([name]) => name), [
    "auth-request", "get-anons", "get-users", "get-user-chats", "join-chat", "get-chat-messages",
  ]);
  assert.equal(session.room.state, "in");
  assert.equal(session.room.fresh, 1);
  assert.equal(session.chats.unread, 0);
  assert.deepEqual(ids(), [1, 2]);
});

test("a refused log-in says why, and nothing goes on", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const wire = new Wire();
  wire.refuse = "Wrong password";
  const session = new Session(wire);
  await assert.rejects(session.logIn("anna", "x"), /Wrong password/);
  assert.deepEqual(wire.of("auth-request"), [["anna", "x"]]);
  assert.equal(session.state, "out");
  assert.equal(wire.open, false);
});

test("after a break it logs in, enters and reads again: nothing is missing or doubled", async (t) => {
  const { wire, session, ids } = await room(t, (wire) => {
    wire.history = [message(1, "ola", "a")];
  });
  wire.say("chat-msg", ...said(2, "ola", "b"));
  wire.history.push(message(2, "ola", "b"));
  wire.break();
  assert.equal(session.state, "broken");
  wire.history.push(message(3, "ola", "c"));
  wire.sent = [];
  wire.start();
  await ticks();
  wire.say("chat-msg", ...said(4, "ola", "d"));
  wire.history.push(message(4, "ola", "d"));
  assert.deepEqual(ids(), [1, 2, 3, 4]);
  assert.deepEqual(wire.of("join-chat"), [[1, 0]]);
});

test("after more than a page was missed the log has no hole", async (t) => {
  const { wire, session, ids } = await room(t, (wire) => {
    wire.history = [message(1, "ola", "a")];
  });
  wire.break();
  for (let id = 2; id <= 2 * PAGE; id += 1) wire.history.push(message(id, "ola", "x"));
  wire.start();
  await ticks();
  assert.equal(ids()[0], PAGE + 1);
  assert.equal(session.log.older, true);
  await session.loadOlder();
  assert.equal(ids()[0], 2);
  await session.loadOlder();
  assert.deepEqual(ids(), Array.from({ length: 2 * PAGE }, (_, at) => at + 1));
  assert.equal(session.log.older, false);
});

test("what is written while there is no connection goes out once it is back", async (t) => {
  const { wire, session } = await room(t);
  wire.break();
  session.send({ text: "a" });
  session.send({ text: "b" });
  wire.start();
  await ticks();
  assert.deepEqual(wire.of("chat-msg").map(([, , text]) => text), ["a"]);
  const [[, , , tag]] = wire.of("chat-msg");
  wire.say("chat-msg", ...said(5, "anna", "a"));
  wire.say("chat-response", 1, "OK", tag);
  assert.deepEqual(wire.of("chat-msg").map(([, , text]) => text), ["a", "b"]);
});

test("a message whose answer was lost is found in the history, or is the person's to send again", async (t) => {
  const { wire, session, ids } = await room(t);
  session.send({ text: "kept" });
  wire.history.push(message(7, "anna", "kept"));
  wire.break();
  assert.deepEqual(session.outgoing.all.map(({ state }) => state), ["unsure"]);
  wire.start();
  await ticks();
  assert.deepEqual(session.outgoing.all, []);
  assert.deepEqual(ids(), [7]);

  session.send({ text: "lost" });
  wire.break();
  wire.start();
  await ticks();
  const [item] = session.outgoing.all;
  assert.equal(item.state, "failed");
  assert.deepEqual(wire.of("chat-msg").map(([, , text]) => text), ["kept", "lost"]);
  session.retry(item);
  assert.deepEqual(wire.of("chat-msg").map(([, , text]) => text), ["kept", "lost", "lost"]);
});

test("an answer to another tab's message is not taken for an own one", async (t) => {
  const { wire, session } = await room(t);
  session.send({ text: "a" });
  const [[, , , tag]] = wire.of("chat-msg");
  wire.say("chat-response", -1, "Too long", tag + 1);
  assert.equal(session.outgoing.sending.text, "a");
  wire.say("chat-response", -1, "Too long", tag);
  assert.equal(session.outgoing.all[0].reason, "Too long");
});

test("a chat that is left is left on the server, once nothing is to be said in it", async (t) => {
  const { wire, session } = await room(t);
  session.send({ text: "a" });
  session.openChat("0/2");
  await ticks();
  assert.deepEqual(wire.of("leave-chat"), []);
  const [[, , , tag]] = wire.of("chat-msg");
  wire.say("chat-response", 1, "OK", tag);
  assert.deepEqual(wire.of("leave-chat"), [[1, 0]]);
  assert.deepEqual(wire.of("join-chat"), [[1, 0], [0, 2]]);
});

test("an advert that is not joined is not joined by looking at it", async (t) => {
  const { wire, session } = await room(t);
  session.openChat("7/0");
  await ticks();
  assert.equal(session.room.state, "outside");
  assert.deepEqual(wire.of("join-chat"), [[1, 0]]);
  session.enterAgain();
  await ticks();
  assert.equal(session.room.state, "in");
  assert.ok(session.chats.list.some(({ key }) => key === "7/0"));
});

test("a chat that the server does not let in is none of the person's, until it does", async (t) => {
  const { wire, session } = await room(t);
  wire.mute.add("join-chat");
  session.openChat("0/99");
  await ticks();
  wire.say("join-chat-response", 0, -1, "No such user");
  await ticks();
  assert.equal(session.room.state, "refused");
  assert.deepEqual(session.chats.list.map(({ key }) => key), ["1/0"]);
  session.enterAgain();
  wire.say("join-chat-response", 0, 99, "OK");
  await ticks();
  assert.ok(session.chats.list.some(({ key }) => key === "0/99"));
});

test("messages elsewhere are counted, and those before the eyes are not", async (t) => {
  const { wire, session, changes } = await room(t);
  wire.say("new-msg-notification", ...said(3, "ola", "a", 0, 2));
  wire.say("new-img-notification", 4, 0, 2, "ola", 1, "a.png", "image/png");
  wire.say("chat-msg", ...said(5, "ola", "b"));
  assert.equal(session.chats.get("0/2").unread, 2);
  assert.equal(session.chat.unread, 0);
  assert.equal(changes.filter(([what]) => what === "message").length, 3);
  session.attend(false);
  wire.say("chat-msg", ...said(6, "ola", "c"));
  assert.equal(session.chat.unread, 1);
  session.attend(true);
  assert.equal(session.chat.unread, 0);
  wire.say("chat-msg", ...said(7, "anna", "from another dialect", 0, 2));
  assert.equal(session.chats.get("0/2").unread, 2, "an own one is not new");
});

test("a count that a message came close to is asked for again, and its answer holds", async (t) => {
  const { wire, session } = await room(t);
  wire.say("new-msg-notification", ...said(3, "ola", "offline mail that was counted", 2, 0));
  wire.counts = [{ anons_id: 2, chat_id: 0, AllMsgs: 1, NewMsgs: 1 }];
  const before = wire.of("get-user-chats").length;
  t.mock.timers.tick(3_000);
  await ticks();
  assert.ok(wire.of("get-user-chats").length > before);
  assert.equal(session.chats.get("2/0").unread, 1);
});

test("another tab's doings are followed", async (t) => {
  const { wire, session } = await room(t);
  wire.say("new-msg-notification", ...said(3, "ola", "a", 0, 2));
  wire.say("join-chat-response", 0, 2, "OK");
  assert.equal(session.chats.get("0/2").unread, 0, "it is read there");
  wire.sent = [];
  wire.say("leave-chat-response", 1, 0, "OK");
  await ticks();
  assert.deepEqual(wire.of("join-chat"), [[1, 0]], "what is open here is entered again");
});

test("what is sent while another tab leaves the chat is sent again once it is entered again", async (t) => {
  const { wire, session } = await room(t);
  session.send({ text: "a" });
  const [[, , , tag]] = wire.of("chat-msg");
  // The server took them in this order: the other tab's leave, then the message.
  wire.say("leave-chat-response", 1, 0, "OK");
  wire.say("chat-response", -1, "You are not in this chat", tag);
  await ticks();
  assert.deepEqual(wire.of("chat-msg"), [[1, 0, "a", tag], [1, 0, "a", tag]]);
  wire.say("chat-response", -1, "You are not in this chat", tag);
  await ticks();
  assert.equal(session.outgoing.all[0].reason, "You are not in this chat", "in it, a refusal is one");
});

test("what waits in a chat that another tab leaves still goes out", async (t) => {
  const { wire, session } = await room(t);
  session.send({ text: "a" });
  session.openChat("0/2");
  await ticks();
  const [[, , , tag]] = wire.of("chat-msg");
  wire.say("leave-chat-response", 1, 0, "OK");
  wire.say("chat-response", -1, "You are not in this chat", tag);
  await ticks();
  assert.deepEqual(wire.of("chat-msg"), [[1, 0, "a", tag], [1, 0, "a", tag]]);
  wire.say("chat-response", 1, "OK", tag);
  assert.deepEqual(wire.of("leave-chat"), [[1, 0]]);
});

test("a chat that could not be left is not taken for one that is being left", async (t) => {
  const { wire, session } = await room(t);
  session.openChat("0/2");
  // Two tabs left it: the second one is told that it was not in it.
  wire.say("leave-chat-response", 1, -1, "You are not in this chat");
  session.openChat("1/0");
  await ticks();
  wire.sent = [];
  wire.say("leave-chat-response", 1, 0, "OK");
  await ticks();
  assert.deepEqual(wire.of("join-chat"), [[1, 0]]);
});

test("another tab's history is no history of this chat", async (t) => {
  const { wire, session, ids } = await room(t, (wire) => {
    wire.history = [message(5, "ola", "a")];
  });
  wire.say("chat-messages", 1, [message(1, "ola", "of another chat", 2, 0)]);
  assert.deepEqual(ids(), [5]);
  wire.mute.add("get-chat-messages");
  wire.break();
  wire.start();
  await ticks();
  wire.say("chat-messages", 1, [message(2, "ola", "of another chat", 2, 0)]);
  wire.say("chat-messages", 2, [message(5, "ola", "a"), message(6, "ola", "b")]);
  await ticks();
  assert.deepEqual(ids(), [5, 6]);
  assert.equal(session.room.state, "in");
});

test("a server that lost everything is believed when it says so twice", async (t) => {
  const { wire, session, ids } = await room(t, (wire) => {
    wire.history = [message(50, "ola", "a"), message(51, "ola", "b")];
  });
  wire.break();
  wire.history = [message(1, "ola", "new times")];
  wire.start();
  await ticks();
  assert.deepEqual(ids(), [1]);
  assert.equal(session.room.state, "in");
});

test("a session that the server does not know any more is begun anew", async (t) => {
  const { wire } = await room(t);
  wire.say("auth-response", -1, "Unauthorized");
  assert.equal(wire.restarts, 1);
});

test("no answer at all is a failure that can be tried again", async (t) => {
  const { wire, session, ids } = await room(t, (wire) => {
    wire.mute.add("join-chat");
    wire.history = [message(1, "ola", "a")];
  });
  t.mock.timers.tick(30_000);
  await ticks();
  assert.equal(session.room.state, "failed");
  wire.mute.clear();
  session.enterAgain();
  await ticks();
  assert.equal(session.room.state, "in");
  assert.deepEqual(ids(), [1]);
});

test("images are asked for by their id, and what comes with a message is handed on", async (t) => {
  const { wire, session } = await room(t);
  const handed = [];
  session.onimage = (...image) => handed.push(image);
  const data = new ArrayBuffer(4);
  wire.say("chat-img", 9, 1, 0, "ola", 1, "a.png", "image/png", data);
  assert.deepEqual(handed, [[9, "image/png", data]]);
  assert.equal(session.log.rows[0].image.name, "a.png");
  const got = session.image(9);
  wire.say("image", 8, "image/png", null);
  wire.say("image", 9, "image/png", data);
  assert.deepEqual(await got, { type: "image/png", data });
});
