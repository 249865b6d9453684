// A real server with a store on disk that can be killed and started again where it was, and what
// others than browsers do: the client `centrala` in `topics`, and frames of `direct`.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { promisify } from "node:util";

/** Nothing takes longer (milliseconds), on a machine that does other things beside. */
export const LONG = 120_000;

const environment = (name) => {
  assert.ok(process.env[name], `${name} is not set: these tests are run by tests/page.rs`);
  return process.env[name];
};
const SERVER = environment("CENTRALAD");
const CLIENT = environment("CENTRALA");
const DIRECTORY = environment("CENTRALA_DIRECTORY");
/** Keys from here on are this run's; who runs it removes their queues. */
const FIRST_KEY = Number(environment("CENTRALA_KEY"));
let started = 0;

export class Exchange {
  #process = null;
  #log = "";
  #config;
  #port;

  /** A server of its own, with an empty store. */
  static async start() {
    const exchange = new Exchange();
    const number = started++;
    exchange.key = FIRST_KEY + number;
    const folder = path.join(DIRECTORY, `server-${number}`);
    fs.mkdirSync(folder);
    exchange.#config = path.join(folder, "centrala.toml");
    // Below those that the kernel gives to connections, mostly: it must be free after a restart too.
    await exchange.#listening(() => {
      exchange.#port = 20_000 + Math.floor(Math.random() * 12_000);
      fs.writeFileSync(exchange.#config, exchange.#configuration(folder));
    });
    return exchange;
  }

  /** Starts it until nobody else has its port, `prepare`d each time; another end is an error. */
  async #listening(prepare = () => {}) {
    for (const deadline = Date.now() + LONG; ; await new Promise((again) => setTimeout(again, 50))) {
      prepare();
      const before = this.#log.length;
      if (await this.#run()) return;
      const why = this.#log.slice(before);
      assert.ok(/ is in use/.test(why) && Date.now() < deadline, `the server does not start: ${why}`);
    }
  }

  #configuration(folder) {
    return `
      data = ${JSON.stringify(path.join(folder, "data"))}
      [accounts]
      registrations_per_minute = 60000
      [direct]
      listen = "127.0.0.1:0"
      [rooms]
      listen = "127.0.0.1:${this.#port}"
      [topics]
      key = ${this.key}
    `;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** Starts it; false if it ended instead. */
  #run() {
    const child = spawn(SERVER, ["--config", this.#config], { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    // All that it said has been read by then.
    this.ended = new Promise((resolve) => child.on("close", resolve));
    child.stderr.on("data", (data) => (this.#log += data));
    let said = "";
    return new Promise((resolve, reject) => {
      const late = () => {
        child.kill("SIGKILL");
        reject(new Error(`the server does not say where it is, but "${said}": ${this.#log}`));
      };
      const timer = setTimeout(late, LONG);
      const done = (ready) => {
        clearTimeout(timer);
        resolve(ready);
      };
      child.on("error", reject);
      child.on("close", () => done(false));
      child.stdout.on("data", (data) => {
        said += data;
        const lines = said.split("\n").slice(0, -1);
        const direct = lines.find((line) => line.startsWith("direct: "));
        if (direct) this.direct = Number(direct.split(":").at(-1));
        if (["direct:", "rooms:", "topics:"].every((name) => lines.some((line) => line.startsWith(name)))) {
          done(true);
        }
      });
    });
  }

  /** The last lines of what it logged. */
  get log() {
    return this.#log.split("\n").slice(-40).join("\n");
  }

  /** Kills it, as a power cut would end it. */
  async kill() {
    this.#process.kill("SIGKILL");
    await this.ended;
  }

  /** Starts it again, where it was and with what it kept. */
  async startAgain() {
    await this.#listening();
  }

  async stop() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGTERM");
    const late = setTimeout(() => this.#process.kill("SIGKILL"), 30_000);
    await this.ended;
    clearTimeout(late);
  }

  /** Runs the client: `topics("ola", "send", "#news", "hej")`. */
  async topics(name, ...args) {
    const options = { timeout: LONG, env: { ...process.env, CENTRALA_URL: `topics://${name}@${this.key}` } };
    return (await promisify(execFile)(CLIENT, args, options)).stdout;
  }

  /** Sends texts by `direct`, each acknowledged, to `@name` without its @ or `#group`. */
  async say(from, to, texts) {
    const frame = (number, recipient, text) => {
      const bytes = Buffer.from(text);
      const head = Buffer.alloc(24);
      head.writeUInt16BE(24 + bytes.length, 0);
      head.writeUInt32BE(number, 4);
      head.write(from, 8, 8);
      head.write(recipient, 16, 8);
      return Buffer.concat([head, bytes]);
    };
    const socket = net.connect(this.direct, "127.0.0.1");
    const acknowledged = new Promise((resolve, reject) => {
      let got = Buffer.alloc(0);
      let count = 0;
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("direct closed the connection")));
      socket.on("data", (data) => {
        got = Buffer.concat([got, data]);
        while (got.length >= 2 && got.length >= got.readUInt16BE(0)) {
          const length = got.readUInt16BE(0);
          const [type, text] = [got.readUInt16BE(2), String(got.subarray(24, length))];
          got = got.subarray(length);
          if (type !== 1) continue;
          if (text !== "200" && text !== "300") reject(new Error(`direct answered ${text}`));
          if (++count === texts.length) resolve();
        }
      });
    });
    texts.forEach((text, number) => socket.write(frame(number, to, text)));
    await acknowledged;
    socket.removeAllListeners("close");
    socket.destroy();
  }
}
