// Images: what may be sent, and what was received. Bytes decide the type, never a name.

/** The server takes no longer ones. */
export const LONGEST = 1024 * 1024;
export const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/** So many bytes of received images are kept at hand. */
const KEPT = 48 * 1024 * 1024;
/** So many are asked for at once. */
const AT_ONCE = 3;

const ascii = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

/** The type that the first bytes of a file tell, or null. */
export function typeOf(bytes) {
  if (ascii(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return "image/png";
  if (ascii(bytes, 0, 3) === "\xff\xd8\xff") return "image/jpeg";
  if (/^GIF8[79]a$/.test(ascii(bytes, 0, 6))) return "image/gif";
  if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 12) === "WEBP") return "image/webp";
  return null;
}

/** Names are shown in one line, in the history of every dialect. */
export function nameOf(file, type) {
  const name = file.name.replace(/[\p{Cc}\s[\]]+/gu, " ").trim();
  const short = [...name].slice(-60).join("");
  return short || `image.${type.slice("image/".length)}`;
}

/** What a file is: { name, type, data }; throws an Error that tells a person why not. */
export async function check(file) {
  let data;
  try {
    data = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name || "The file"} cannot be read.`);
  }
  const type = typeOf(data);
  if (!type) {
    const what = file.name ? `“${file.name}”` : "This";
    throw new Error(`${what} is no image that can be sent: PNG, JPEG, GIF or WebP.`);
  }
  return { name: nameOf(file, type), type, data };
}

/** Makes an image small enough by drawing it anew, smaller and smaller; null if that fails. */
export async function shrink({ name, data, type }) {
  const bitmap = await createImageBitmap(new Blob([data], { type })).catch(() => null);
  if (!bitmap) return null;
  const longest = Math.max(bitmap.width, bitmap.height);
  try {
    for (const side of [2048, 1600, 1280, 960, 640]) {
      const scale = Math.min(1, side / longest);
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(bitmap.width * scale));
      canvas.height = Math.max(1, Math.round(bitmap.height * scale));
      const context = canvas.getContext("2d");
      // JPEG knows no transparency.
      context.fillStyle = "white";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
      if (blob && blob.size <= LONGEST) {
        const smaller = new Uint8Array(await blob.arrayBuffer());
        return { name: name.replace(/\.\w+$/, "") + ".jpg", type: "image/jpeg", data: smaller };
      }
    }
  } finally {
    bitmap.close();
  }
  return null;
}

/** Received images by message id, asked for when they are to be seen. */
export class Images {
  #ask;
  #blobs = new Map();
  #size = 0;
  #wanted = new Map();
  #asking = 0;

  /** `ask(id)` gives { type, data } from the server. */
  constructor(ask) {
    this.#ask = ask;
  }

  /** An image that came by itself. */
  put(id, type, data) {
    if (!TYPES.includes(type)) return null;
    const blob = new Blob([data], { type });
    this.#size += blob.size - (this.#blobs.get(id)?.size ?? 0);
    this.#blobs.delete(id);
    this.#blobs.set(id, blob);
    for (const [oldest, { size }] of this.#blobs) {
      if (this.#size <= KEPT || oldest === id) break;
      this.#blobs.delete(oldest);
      this.#size -= size;
    }
    return blob;
  }

  /** The image's Blob, null if there is none; rejects if the server does not answer. */
  get(id) {
    const blob = this.#blobs.get(id);
    if (blob) return Promise.resolve(blob);
    let want = this.#wanted.get(id);
    if (!want) {
      want = promised();
      this.#wanted.set(id, want);
      this.#next();
    }
    return want.promise;
  }

  /** Forgets all. */
  clear() {
    this.#blobs.clear();
    this.#size = 0;
  }

  async #next() {
    if (this.#asking >= AT_ONCE) return;
    const waiting = [...this.#wanted].find(([, want]) => !want.asked);
    if (!waiting) return;
    const [id, want] = waiting;
    want.asked = true;
    this.#asking += 1;
    try {
      const { type, data } = await this.#ask(id);
      want.resolve(this.#blobs.get(id) ?? (data ? this.put(id, type, data) : null));
    } catch (error) {
      want.reject(error);
    }
    this.#wanted.delete(id);
    this.#asking -= 1;
    this.#next();
  }
}

/** A promise with its `resolve` and `reject`. */
function promised() {
  const want = {};
  want.promise = new Promise((resolve, reject) => Object.assign(want, { resolve, reject }));
  return want;
}
