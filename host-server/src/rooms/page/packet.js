// Packets of Socket.IO 5 inside those of Engine.IO 4, as a WebSocket carries them: a frame of text
// begins with the Engine.IO type, then, in a message, the Socket.IO type; a binary frame is an
// attachment of the packet of text before it. Only the default namespace is spoken.

/** Types of Engine.IO packets. */
export const ENGINE = { OPEN: "0", CLOSE: "1", PING: "2", PONG: "3", MESSAGE: "4", NOOP: "6" };

/** Types of Socket.IO packets. */
export const PACKET = {
  CONNECT: "0",
  DISCONNECT: "1",
  EVENT: "2",
  ACK: "3",
  CONNECT_ERROR: "4",
  BINARY_EVENT: "5",
  BINARY_ACK: "6",
};

/** A packet that breaks the protocol. */
export class PacketError extends Error {}

/** More attachments than this in one packet are refused: an event of ours has one at most. */
const ATTACHMENTS = 16;

/**
 * The frames of an event: one of text, then one for each ArrayBuffer or view among its arguments,
 * at any depth.
 */
export function encodeEvent(name, args) {
  const attachments = [];
  const data = [name, ...args].map((value) => take(value, attachments));
  const type = attachments.length ? `${PACKET.BINARY_EVENT}${attachments.length}-` : PACKET.EVENT;
  return [ENGINE.MESSAGE + type + JSON.stringify(data), ...attachments];
}

function take(value, attachments) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return { _placeholder: true, num: attachments.push(value) - 1 };
  }
  if (Array.isArray(value)) return value.map((inner) => take(inner, attachments));
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value);
    return Object.fromEntries(entries.map(([key, inner]) => [key, take(inner, attachments)]));
  }
  return value;
}

/**
 * Reads a Socket.IO packet (what follows the `4`): its type, how many attachments it waits for, and
 * its data. Packets of other namespaces are null.
 */
export function decodePacket(text) {
  const match = /^([0-6])(?:(\d{1,4})-)?(\/[^,]*,)?(\d{1,15})?/.exec(text);
  if (!match) throw new PacketError("a packet of no known type");
  const [head, type, count, namespace] = match;
  const binary = type === PACKET.BINARY_EVENT || type === PACKET.BINARY_ACK;
  if (binary !== (count !== undefined)) throw new PacketError("a wrong count of attachments");
  const attachments = Number(count ?? 0);
  if (attachments > ATTACHMENTS) throw new PacketError("too many attachments");
  if (namespace !== undefined) return null;
  const json = text.slice(head.length);
  let data;
  try {
    data = json === "" ? undefined : JSON.parse(json);
  } catch {
    throw new PacketError("a packet whose data is no JSON");
  }
  const event = type === PACKET.EVENT || type === PACKET.BINARY_EVENT;
  if (event && !(Array.isArray(data) && typeof data[0] === "string")) {
    throw new PacketError("an event without a name");
  }
  return { type, attachments, data };
}

/** Puts attachments where their placeholders are. */
function put(value, attachments) {
  if (Array.isArray(value)) return value.map((inner) => put(inner, attachments));
  if (value === null || typeof value !== "object") return value;
  if (value._placeholder === true) {
    if (!(value.num in attachments)) throw new PacketError("an attachment that did not come");
    return attachments[value.num];
  }
  const entries = Object.entries(value);
  return Object.fromEntries(entries.map(([key, inner]) => [key, put(inner, attachments)]));
}

/** Gathers packets with their attachments. */
export class Assembler {
  #waiting = null;
  #parts = [];

  /** Takes a packet's text; gives the packet, or null if attachments are still to come. */
  text(text) {
    if (this.#waiting) throw new PacketError("a packet before the attachments of the last one");
    const packet = decodePacket(text);
    if (!packet || packet.attachments === 0) return packet;
    this.#waiting = packet;
    this.#parts = [];
    return null;
  }

  /** Takes an attachment; gives its packet once it is whole, else null. */
  binary(bytes) {
    if (!this.#waiting) throw new PacketError("an attachment of no packet");
    this.#parts.push(bytes);
    if (this.#parts.length < this.#waiting.attachments) return null;
    const packet = { ...this.#waiting, data: put(this.#waiting.data, this.#parts) };
    this.#waiting = null;
    this.#parts = [];
    return packet;
  }
}
