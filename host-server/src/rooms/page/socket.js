// A connection to a Socket.IO server that comes back by itself: WebSocket only, heartbeat watched,
// tries again with growing pauses. It knows no event's meaning.

import { Assembler, ENGINE, PACKET, encodeEvent } from "./packet.js";

/** A handshake that takes longer has failed. Milliseconds, like every duration here. */
const HANDSHAKE = 10_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 20_000;
/** A connection that lasted so long was a good one: the pauses begin anew. */
const STEADY = 5_000;

/** The pause before try `n` (0 is the first one after a break); `chance` is within 0..1. */
export function pause(n, chance) {
  const longest = Math.min(FIRST_PAUSE * 2 ** Math.min(n, 16), LONGEST_PAUSE);
  // Clients of a server that was restarted must not come back all at once.
  return longest * (0.5 + chance / 2);
}

/**
 * Its owner is told by `onopen()`, `onevent(name, args)` and `onclose(delay)`, whose argument says
 * in how many milliseconds the next try comes.
 */
export class Socket {
  onopen = () => {};
  onevent = () => {};
  onclose = () => {};
  #url;
  #WebSocket;
  #socket = null;
  #open = false;
  #opened = 0;
  #tries = 0;
  #heartbeat = 0;
  #deadline = 0;
  #retry = 0;

  constructor(url, WebSocketClass = WebSocket) {
    this.#url = url;
    this.#WebSocket = WebSocketClass;
  }

  get open() {
    return this.#open;
  }

  /** Connects, or tries again at once if it waits. */
  start() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    if (this.#socket) return;
    const socket = new this.#WebSocket(this.#url);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    const assembler = new Assembler();
    this.#watch(HANDSHAKE);
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      try {
        if (typeof data === "string") this.#text(data, assembler);
        else this.#packet(assembler.binary(data));
      } catch (error) {
        console.error(error);
        this.#break();
      }
    };
    socket.onclose = () => socket === this.#socket && this.#break();
  }

  /** Ends the connection and does not come back until `start`. */
  stop() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#drop();
    this.#tries = 0;
  }

  /** Breaks the connection off and tries anew, as if it had been lost. */
  again() {
    if (this.#socket) this.#break();
  }

  /** Whether the event was handed to an open connection. */
  send(name, ...args) {
    if (!this.#open) return false;
    try {
      for (const frame of encodeEvent(name, args)) this.#socket.send(frame);
      return true;
    } catch (error) {
      console.error(error);
      this.#break();
      return false;
    }
  }

  #text(data, assembler) {
    const rest = data.slice(1);
    switch (data[0]) {
      case ENGINE.OPEN: {
        const { pingInterval, pingTimeout } = JSON.parse(rest);
        this.#heartbeat = pingInterval + pingTimeout;
        this.#socket.send(ENGINE.MESSAGE + PACKET.CONNECT);
        break;
      }
      case ENGINE.PING:
        this.#socket.send(ENGINE.PONG + rest);
        if (this.#open) this.#watch(this.#heartbeat);
        break;
      case ENGINE.MESSAGE:
        this.#packet(assembler.text(rest));
        break;
      case ENGINE.CLOSE:
        this.#break();
    }
  }

  #packet(packet) {
    switch (packet?.type) {
      case PACKET.CONNECT:
        this.#open = true;
        this.#opened = Date.now();
        this.#watch(this.#heartbeat);
        this.onopen();
        break;
      case PACKET.EVENT:
      case PACKET.BINARY_EVENT:
        if (this.#open) this.#tell(packet.data);
        break;
      case PACKET.CONNECT_ERROR:
      case PACKET.DISCONNECT:
        this.#break();
    }
  }

  #tell([name, ...args]) {
    try {
      this.onevent(name, args);
    } catch (error) {
      // A mistake of the page is no reason to break the connection.
      console.error(error);
    }
  }

  /** Takes silence for a break: a connection can die without a word. */
  #watch(silence) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#break(), silence);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#open = false;
    clearTimeout(this.#deadline);
    socket?.close();
  }

  #break() {
    if (this.#open && Date.now() - this.#opened > STEADY) this.#tries = 0;
    this.#drop();
    const delay = pause(this.#tries, Math.random());
    this.#tries += 1;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.start(), delay);
    this.onclose(delay);
  }
}
