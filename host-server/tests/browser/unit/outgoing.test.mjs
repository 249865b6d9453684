import assert from "node:assert/strict";
import test from "node:test";
import { module } from "./modules.mjs";

const { Outgoing } = await module("outgoing.js");

const own = (id, text) => ({ id, text, image: null });
const states = (outgoing) => outgoing.all.map(({ state }) => state);

/** Three texts in a chat, the first under way. */
function three() {
  const outgoing = new Outgoing();
  for (const text of ["a", "b", "b"]) outgoing.add("1/0", { text });
  outgoing.begin(outgoing.next(new Set(["1/0"])), 10);
  return outgoing;
}

test("one thing is under way at a time, in order, and only where one is in", () => {
  const outgoing = three();
  assert.deepEqual(states(outgoing), ["sending", "waiting", "waiting"]);
  assert.equal(outgoing.next(new Set(["1/0"])), null);
  outgoing.answer(1, "OK");
  assert.equal(outgoing.next(new Set(["2/0"])), null);
  assert.equal(outgoing.next(new Set(["1/0"])).text, "b");
});

test("what is refused waits for the person, with the reason", () => {
  const outgoing = three();
  const item = outgoing.answer(-1, "Too long");
  assert.equal(item.state, "failed");
  assert.equal(item.reason, "Too long");
  outgoing.retry(item);
  assert.deepEqual(states(outgoing), ["waiting", "waiting", "waiting"]);
});

test("an own message that comes is the one under way, once", () => {
  const outgoing = three();
  assert.equal(outgoing.echo("1/0", own(11, "b")), false);
  assert.equal(outgoing.echo("2/0", own(11, "a")), false);
  assert.equal(outgoing.echo("1/0", own(11, "a")), true);
  assert.equal(outgoing.echo("1/0", own(12, "a")), false);
});

test("what broke off is settled by the history: there, or for the person to send again", () => {
  const arrived = three();
  arrived.broken();
  assert.deepEqual(states(arrived), ["unsure", "waiting", "waiting"]);
  assert.equal(arrived.next(new Set(["1/0"])), null, "what is behind it waits");
  arrived.settle("1/0", [own(9, "a"), own(11, "a")]);
  assert.deepEqual(states(arrived), ["waiting", "waiting"]);

  const lost = three();
  lost.broken();
  lost.settle("1/0", [own(9, "a"), own(11, "c")]);
  assert.deepEqual(states(lost), ["failed", "waiting", "waiting"]);
  assert.match(lost.all[0].reason, /did not arrive/);
});

test("one message of the history settles one of two that are alike", () => {
  const outgoing = new Outgoing();
  outgoing.restore([
    { key: "1/0", text: "b", state: "sending", after: 10 },
    { key: "1/0", text: "b", state: "unsure", after: 10 },
    { key: "1/0", text: "c", state: "waiting", after: 0 },
  ]);
  assert.deepEqual(states(outgoing), ["unsure", "unsure", "failed"]);
  outgoing.settle("1/0", [own(11, "b")]);
  assert.deepEqual(states(outgoing), ["failed", "failed"]);
});

test("an image is known by its name and type", () => {
  const outgoing = new Outgoing();
  const image = { name: "a.png", type: "image/png", data: new Uint8Array(3) };
  outgoing.begin(outgoing.add("1/0", { image }), 0);
  assert.equal(outgoing.echo("1/0", own(1, "a.png")), false);
  outgoing.broken();
  const text = "[image: a.png, image/png, 3]";
  outgoing.settle("1/0", [{ id: 2, text, image: { name: "a.png", type: "image/png", size: 3 } }]);
  assert.deepEqual(outgoing.all, []);
});

test("a chat that cannot be entered fails all that is for it, and no other", () => {
  const outgoing = three();
  outgoing.add("2/0", { text: "x" });
  outgoing.refuse("1/0", "No such chat");
  assert.deepEqual(states(outgoing), ["failed", "failed", "failed", "waiting"]);
  assert.equal(outgoing.busy("1/0"), false);
  assert.equal(outgoing.busy("2/0"), true);
});
