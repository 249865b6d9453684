import assert from "node:assert/strict";
import test from "node:test";
import { module } from "./modules.mjs";

const { Socket, pause } = await module("socket.js");

/** What a browser's WebSocket is to its user, with the other end in the test's hand. */
class Wire {
  static all = [];
  sent = [];
  closed = false;
  constructor(url) {
    this.url = url;
    Wire.all.push(this);
  }
  send(frame) {
    this.sent.push(frame);
  }
  close() {
    this.closed = true;
  }
  say(data) {
    this.onmessage({ data });
  }
  static get last() {
    return Wire.all.at(-1);
  }
}

const OPEN = '0{"sid":"x","pingInterval":10000,"pingTimeout":5000}';

/** An open connection, and what its owner was told. */
function open() {
  Wire.all = [];
  const told = [];
  const socket = new Socket("ws://here/", Wire);
  socket.onopen = () => told.push("open");
  socket.onclose = (delay) => told.push(["close", delay]);
  socket.onevent = (...event) => told.push(event);
  socket.start();
  Wire.last.say(OPEN);
  Wire.last.say('40{"sid":"y"}');
  return { socket, told };
}

test("it connects to the namespace, answers pings, and carries events both ways", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { socket, told } = open();
  Wire.last.say("2");
  assert.equal(socket.send("chat-msg", 1, 0, "a"), true);
  assert.deepEqual(Wire.last.sent, ["40", "3", '42["chat-msg",1,0,"a"]']);
  Wire.last.say('42["users",0,[]]');
  Wire.last.say('451-["image",{"_placeholder":true,"num":0}]');
  const bytes = new ArrayBuffer(2);
  Wire.last.say(bytes);
  assert.deepEqual(told, ["open", ["users", [0, []]], ["image", [bytes]]]);
});

test("silence of more than a heartbeat is a break, and it comes back", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { socket, told } = open();
  t.mock.timers.tick(9_000);
  Wire.last.say("2");
  t.mock.timers.tick(14_999);
  assert.equal(socket.open, true);
  t.mock.timers.tick(1);
  assert.equal(socket.open, false);
  assert.equal(Wire.last.closed, true);
  assert.equal(socket.send("late"), false);
  const [what, delay] = told.at(-1);
  assert.equal(what, "close");
  t.mock.timers.tick(delay);
  assert.equal(Wire.all.length, 2);
  Wire.last.say(OPEN);
  Wire.last.say("40");
  assert.equal(told.at(-1), "open");
});

test("pauses grow to a limit, differ by chance, and begin anew after a good connection", (t) => {
  assert.deepEqual([0, 1, 2, 9].map((n) => pause(n, 1)), [500, 1000, 2000, 20_000]);
  assert.equal(pause(3, 0), 2000);
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { socket, told } = open();
  t.mock.timers.tick(6_000);
  for (let n = 0; n < 8; n += 1) {
    Wire.last.onclose();
    const [, delay] = told.at(-1);
    assert.ok(delay >= pause(n, 0) && delay <= pause(n, 1), `${n}: ${delay}`);
    t.mock.timers.tick(delay);
    assert.equal(Wire.all.length, n + 2);
  }
  Wire.last.say(OPEN);
  Wire.last.say("40");
  for (let n = 0; n < 3; n += 1) {
    t.mock.timers.tick(4_000);
    Wire.last.say("2");
  }
  Wire.last.onclose();
  assert.ok(told.at(-1)[1] <= 500);
  socket.start();
  assert.equal(Wire.all.length, 10, "at once, when the person wants it");
});

test("a handshake that does not come, and frames that are no packets, are breaks", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(console, "error", () => {});
  const { told } = open();
  Wire.last.say("42{");
  assert.equal(told.at(-1)[0], "close");
  t.mock.timers.tick(told.at(-1)[1]);
  Wire.last.say(OPEN);
  t.mock.timers.tick(10_000);
  assert.equal(Wire.last.closed, true);
});

test("a stopped one stays away, and says nothing of what an old wire still brings", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { socket, told } = open();
  const old = Wire.last;
  socket.stop();
  old.say('42["users",0,[]]');
  old.onclose();
  t.mock.timers.tick(100_000);
  assert.deepEqual(told, ["open"]);
  assert.equal(Wire.all.length, 1);
});

test("a mistake of who is told breaks no connection", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const logged = t.mock.method(console, "error", () => {});
  const { socket } = open();
  socket.onevent = () => {
    throw new Error("a mistake");
  };
  Wire.last.say('42["users",0,[]]');
  assert.equal(socket.open, true);
  assert.equal(logged.mock.callCount(), 1);
});
