import assert from "node:assert/strict";
import test from "node:test";
import { module } from "./modules.mjs";

const { Assembler, PACKET, PacketError, decodePacket, encodeEvent } = await module("packet.js");

test("an event is one frame of text", () => {
  assert.deepEqual(encodeEvent("chat-msg", [1, 0, "cześć \"ola\""]), [
    '42["chat-msg",1,0,"cześć \\"ola\\""]',
  ]);
  assert.deepEqual(encodeEvent("get-anons", []), ['42["get-anons"]']);
});

test("bytes among the arguments go as attachments behind it, in order", () => {
  const [one, two] = [Uint8Array.of(1, 2), Uint8Array.of(3).buffer];
  const frames = encodeEvent("chat-img", [1, one, { deep: [two] }]);
  const text =
    '452-["chat-img",1,{"_placeholder":true,"num":0},{"deep":[{"_placeholder":true,"num":1}]}]';
  assert.deepEqual(frames, [text, one, two]);
});

test("an event is read back, with its attachments where they belong", () => {
  const assembler = new Assembler();
  assert.deepEqual(assembler.text('2["users",1,[{"user_id":1}]]').data, ["users", 1, [{ user_id: 1 }]]);
  const image = '51-["image",7,"image/png",{"_placeholder":true,"num":0}]';
  assert.equal(assembler.text(image), null);
  const bytes = Uint8Array.of(9).buffer;
  const packet = assembler.binary(bytes);
  assert.equal(packet.type, PACKET.BINARY_EVENT);
  assert.equal(packet.data[3], bytes);
  assert.deepEqual(assembler.text('2["after"]').data, ["after"]);
});

test("connecting, an acknowledgement's number and other namespaces are understood", () => {
  assert.deepEqual(decodePacket('0{"sid":"x"}').data, { sid: "x" });
  assert.deepEqual(decodePacket('217["event"]').data, ["event"]);
  assert.equal(decodePacket('2/admin,["event"]'), null);
  assert.deepEqual(decodePacket('4{"message":"no"}'), {
    type: PACKET.CONNECT_ERROR,
    attachments: 0,
    data: { message: "no" },
  });
});

test("what breaks the protocol is an error, whatever it is", () => {
  for (const text of [
    "", "9[]", "2", '2{"a":1}', "2[1]", '2["x"', '5["x"]', '21-["x"]', '5-["x"]', '599-["x"]',
  ]) {
    assert.throws(() => decodePacket(text), PacketError, text);
  }
  const assembler = new Assembler();
  assert.throws(() => assembler.binary(new ArrayBuffer(1)), PacketError);
  assembler.text('51-["x",{"_placeholder":true,"num":1}]');
  assert.throws(() => assembler.text('2["y"]'), PacketError);
  assert.throws(() => assembler.binary(new ArrayBuffer(1)), PacketError, "there is no number 1");
});
