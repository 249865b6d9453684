// The official client of Socket.IO, driven by lines of JSON: what to do comes on standard input,
// what has happened goes to standard output. Bytes are {"$bytes": base64}.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const sockets = new Map();

const say = (id, on, more) => process.stdout.write(`${JSON.stringify({ id, on, ...more })}\n`);
const packed = (value) =>
  Buffer.isBuffer(value) ? { $bytes: value.toString("base64") } : value;
const unpacked = (value) =>
  value?.$bytes === undefined ? value : Buffer.from(value.$bytes, "base64");

function open({ id, url, transports, reconnection }) {
  const socket = io(url, { transports, reconnection, forceNew: true, reconnectionDelay: 20 });
  sockets.set(id, socket);
  socket.on("connect", () =>
    say(id, "connect", { transport: socket.io.engine.transport.name }));
  socket.on("disconnect", (reason) => say(id, "disconnect", { reason }));
  socket.on("connect_error", (error) => say(id, "connect_error", { message: error.message }));
  socket.onAny((...event) => say(id, "event", { event: event.map(packed) }));
  socket.io.engine?.on("upgrade", (transport) => say(id, "upgrade", { transport: transport.name }));
}

for await (const line of createInterface({ input: process.stdin })) {
  const { todo, ...what } = JSON.parse(line);
  const socket = sockets.get(what.id);
  if (todo === "open") open(what);
  else if (todo === "emit") socket.emit(...what.event.map(unpacked));
  else if (todo === "close") socket.disconnect();
}
process.exit(0);
