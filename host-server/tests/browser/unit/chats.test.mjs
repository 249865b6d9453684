import assert from "node:assert/strict";
import test from "node:test";
import { module } from "./modules.mjs";

const { Chats, parseKey } = await module("chats.js");

const count = (anons_id, chat_id, AllMsgs, NewMsgs) => ({ anons_id, chat_id, AllMsgs, NewMsgs });
const said = (text) => ({ username: "ola", text });

/** Anna, with a room, a private chat about another's advert and one about hers, and a DM. */
function anna() {
  const chats = new Chats();
  chats.me = { id: 1, name: "anna" };
  chats.setUsers([
    { user_id: 1, username: "anna", online: true },
    { user_id: 2, username: "Zofia", online: false },
    { user_id: 3, username: "ola", online: true },
  ]);
  chats.setAdverts([
    { anons_id: 1, name: "news", owner: "anna" },
    { anons_id: 2, name: "flat", owner: "ola" },
    { anons_id: 3, name: "cat", owner: "" },
  ]);
  chats.count([count(1, 0, 9, 4), count(2, 1, 2, 0), count(1, 3, 1, 0), count(0, 3, 5, 2)], null);
  return chats;
}

test("an address names a chat, or nothing", () => {
  assert.deepEqual(parseKey("#3/0"), { anons: 3, chat: 0 });
  assert.deepEqual(parseKey("0/7"), { anons: 0, chat: 7 });
  for (const text of ["", "#", "#0/0", "#1", "#1/2/3", "#-1/2", "#a/b", "#99999999999/1"]) {
    assert.equal(parseKey(text), null, text);
  }
});

test("a chat is called by what tells it apart for this person", () => {
  const chats = anna();
  const title = (key) => chats.title(chats.get(key));
  const subtitle = (key) => chats.subtitle(chats.get(key));
  assert.equal(title("1/0"), "news");
  assert.equal(subtitle("1/0"), "Your advert");
  assert.equal(title("2/1"), "ola", "the owner, to who asked");
  assert.equal(title("1/3"), "ola", "who asked, to the owner");
  assert.equal(subtitle("1/3"), "Private, about news");
  assert.equal(title("0/3"), "ola");
  assert.equal(chats.title(chats.add(0, 1)), "anna (you)");
  assert.equal(chats.title(chats.add(0, 77)), "user 77", "until it is asked who that is");
  assert.ok(chats.nameless(chats.get("0/77")) && !chats.nameless(chats.get("0/3")));
});

test("only another's advert that has an owner can be asked about", () => {
  const chats = anna();
  assert.deepEqual([1, 2, 3, 4].map((id) => chats.mayAskPrivately(id)), [false, true, false, false]);
});

test("adverts that are not joined, and people, who is there first", () => {
  const chats = anna();
  assert.deepEqual(chats.otherAdverts.map(({ name }) => name), ["cat", "flat"]);
  assert.deepEqual(chats.people.map(({ name }) => name), ["ola", "Zofia"]);
});

test("a message is new once, until it is read, and not if it was seen", () => {
  const chats = anna();
  assert.equal(chats.unread, 6);
  const room = chats.get("1/0");
  room.note(10, said("a"), false);
  room.note(10, said("a"), false);
  room.note(11, said("b"), true);
  assert.equal(room.unread, 5);
  assert.deepEqual(room.preview, said("b"));
  room.read();
  assert.equal(room.unread, 0);
  room.note(12, said("c"), false);
  assert.equal(room.unread, 1);
});

test("the server's count takes the place of what was counted here, but in the open chat", () => {
  const chats = anna();
  const [room, direct] = [chats.get("1/0"), chats.get("0/3")];
  room.note(10, said("a"), false);
  direct.read();
  chats.count([count(1, 0, 10, 5), count(0, 3, 5, 2)], "0/3");
  assert.equal(room.unread, 5);
  assert.equal(direct.unread, 0);
});

test("what was talked in last comes first, and a chat that is only looked at is in no list", () => {
  const chats = anna();
  assert.deepEqual(chats.list.map(({ key }) => key), ["0/3", "1/0", "2/1", "1/3"]);
  chats.raise(chats.get("1/3"));
  chats.add(3, 0);
  assert.deepEqual(chats.list.map(({ key }) => key), ["1/3", "0/3", "1/0", "2/1"]);
});

test("a DM that was not read is new after the page is loaded anew, and counted once", () => {
  const before = anna();
  before.get("0/3").note(10, said("a"), false);
  const kept = before.save();
  // The server takes a DM for seen when its user goes away; two more came since.
  const after = new Chats();
  after.restore(kept);
  after.count([count(0, 3, 8, 2), count(1, 0, 9, 4)], null);
  assert.equal(after.get("0/3").unread, 5);
  assert.equal(after.get("1/0").unread, 4, "a room's count is the server's");
  // After a crash it counts those before the break, too.
  const crashed = new Chats();
  crashed.restore(kept);
  crashed.count([count(0, 3, 8, 5)], null);
  assert.equal(crashed.get("0/3").unread, 5);
});

test("a broken connection forgets nothing that is new", () => {
  const chats = anna();
  const direct = chats.get("0/3");
  chats.carry();
  assert.equal(direct.unread, 2);
  chats.count([count(0, 3, 6, 1)], null);
  assert.equal(direct.unread, 3);
  direct.read();
  chats.carry();
  chats.count([count(0, 3, 6, 0)], null);
  assert.equal(direct.unread, 0);
});

test("anything else that was kept is ignored", () => {
  for (const text of [null, "", "{", "7", "[1]", '[["1/0"]]', '[["x",[1,2,3]]]', '[["1/0",[1,-2,3]]]']) {
    const chats = new Chats();
    chats.restore(text);
    assert.equal(chats.add(1, 0).order, 0);
  }
});
