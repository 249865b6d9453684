import assert from "node:assert/strict";
import test from "node:test";
import { module } from "./modules.mjs";

const { LONGEST_NAME, pieces, wrongName } = await module("text.js");
const { LONGEST, Images, check, nameOf, typeOf } = await module("images.js");

test("only addresses of the web become links, without what ends the sentence", () => {
  assert.deepEqual(pieces("see https://example.org/a?b=1, or not"), [
    "see ",
    { address: "https://example.org/a?b=1" },
    ", or not",
  ]);
  assert.deepEqual(pieces("(http://localhost:8080)."), ["(", { address: "http://localhost:8080" }, ")."]);
  assert.deepEqual(pieces("https://example.org/a_(b)"), [{ address: "https://example.org/a_(b)" }]);
  for (const text of ["javascript:alert(1)", "ftp://example.org", "https://", "a<b>c", "plain"]) {
    assert.deepEqual(pieces(text), [text]);
  }
  assert.deepEqual(pieces(""), []);
});

test("a name that the exchange would not take is refused with the rule that it breaks", () => {
  for (const name of ["anna", "Jan Kowal", "x".repeat(LONGEST_NAME), "ą~#"]) assert.equal(wrongName(name), "", name);
  for (const [name, why] of [
    ["x".repeat(LONGEST_NAME + 1), /at most 29 characters: this has 30\./],
    ["ą".repeat(15), /an accent counts as two: this has 30\./],
    ["#anna", /begin with “#”/],
    ["~1", /begin with “~”/],
    ["a/b", /no “\/”/],
    ["a  b", /two spaces/],
    ["a\tb", /control/],
  ]) {
    assert.match(wrongName(name), why, name);
  }
});

test("the bytes tell an image's type, and no name does", async () => {
  const latin = (text) => Uint8Array.from(text, (char) => char.charCodeAt(0));
  assert.equal(typeOf(latin("\x89PNG\r\n\x1a\n....")), "image/png");
  assert.equal(typeOf(latin("\xff\xd8\xff\xe0..")), "image/jpeg");
  assert.equal(typeOf(latin("GIF89a..")), "image/gif");
  assert.equal(typeOf(latin("RIFF\0\0\0\0WEBPVP8 ")), "image/webp");
  assert.equal(typeOf(latin("RIFF\0\0\0\0WAVE")), null);
  assert.equal(typeOf(latin("")), null);
  const text = { name: "a.png", arrayBuffer: async () => latin("<svg>").buffer };
  await assert.rejects(check(text), /“a.png” is no image that can be sent/);
  assert.equal(LONGEST, 1024 * 1024);
});

test("an image's name is one line that its place in the history can hold", () => {
  assert.equal(nameOf({ name: "a [1]\n.png" }, "image/png"), "a 1 .png");
  assert.equal(nameOf({ name: "" }, "image/png"), "image.png");
  assert.equal([...nameOf({ name: `${"x".repeat(99)}.png` }, "image/png")].length, 60);
});

test("an image is asked for once, a few at a time, and again after a failure", async () => {
  const asked = [];
  const answers = new Map();
  const images = new Images((id) => {
    asked.push(id);
    return new Promise((resolve, reject) => answers.set(id, { resolve, reject }));
  });
  const got = [1, 2, 3, 4].map((id) => images.get(id));
  const twice = images.get(1);
  assert.deepEqual(asked, [1, 2, 3]);
  answers.get(1).resolve({ type: "image/png", data: Uint8Array.of(1, 2) });
  assert.equal((await got[0]).size, 2);
  assert.equal(await twice, await got[0]);
  answers.get(2).resolve({ type: "", data: null });
  assert.equal(await got[1], null);
  answers.get(3).resolve({ type: "text/html", data: Uint8Array.of(1) });
  assert.equal(await got[2], null, "nothing but images is shown");
  assert.deepEqual(asked, [1, 2, 3, 4]);
  answers.get(4).reject(new Error("broken"));
  await assert.rejects(got[3], /broken/);
  images.get(4).catch(() => {});
  assert.deepEqual(asked, [1, 2, 3, 4, 4]);
  images.put(5, "image/gif", Uint8Array.of(7));
  assert.equal((await images.get(5)).type, "image/gif");
});
