import assert from "node:assert/strict";
import test from "node:test";
import { module } from "./modules.mjs";

const { Log, PAGE, imageOf, rowOf } = await module("log.js");

const row = (id) => ({ id, username: "anna", date: id, text: `${id}`, image: null });
const rows = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => row(from + at));
const ids = (log) => log.rows.map(({ id }) => id);

test("rows are in the order of their ids, and none is there twice", () => {
  const log = new Log();
  assert.equal(log.add(row(5)), 0);
  assert.equal(log.add(row(3)), 0);
  assert.equal(log.add(row(4)), 1);
  assert.equal(log.add(row(4)), -1);
  assert.equal(log.add(row(9)), 3);
  assert.deepEqual(ids(log), [3, 4, 5, 9]);
});

test("what came live before the first page stays, and is not doubled", () => {
  const log = new Log();
  log.add(row(8));
  log.add(row(9));
  log.newest(rows(1, 8));
  assert.deepEqual(ids(log), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(log.older, false);
});

test("an empty chat has nothing before it", () => {
  const log = new Log();
  assert.equal(log.older, null);
  log.newest([]);
  assert.equal(log.older, false);
});

test("after a break the page that overlaps fills the hole", () => {
  const log = new Log();
  log.newest(rows(1, 10));
  log.suspend();
  log.add(row(30));
  assert.equal(log.newest(rows(5, 30)), false);
  assert.deepEqual(ids(log), rows(1, 30).map(({ id }) => id));
  assert.equal(log.suspended, false);
});

test("after a break of more than a page no hole is left: what is before it is asked for again", () => {
  const log = new Log();
  log.newest(rows(1, 10));
  log.suspend();
  // A second break before the page came: what was sure stays what was sure.
  log.add(row(5_000));
  log.suspend();
  assert.equal(log.newest(rows(4_001, 4_000 + PAGE)), true);
  assert.equal(log.first, 4_001);
  assert.equal(log.last, 5_000);
  assert.equal(log.older, true);
});

test("a page before the first row is taken only if it ends with that row", () => {
  const log = new Log();
  log.newest(rows(2_001, 2_000 + PAGE));
  assert.equal(log.older, true);
  log.previous(rows(1, PAGE));
  assert.equal(log.first, 2_001, "there would be a hole");
  log.previous(rows(1_002, 2_001));
  assert.equal(log.first, 1_002);
  assert.equal(log.older, true);
  log.previous(rows(500, 1_002));
  assert.equal(log.first, 500);
  assert.equal(log.older, false);
  assert.equal(new Set(ids(log)).size, log.rows.length);
});

test("a log that is trimmed knows that there is more", () => {
  const log = new Log();
  log.newest(rows(1, 700));
  log.trim(100);
  assert.equal(log.first, 601);
  assert.equal(log.older, true);
});

test("a list's line of an image has its name, type and size", () => {
  assert.deepEqual(imageOf("[image: a, b.png, image/png, 4096]"), {
    name: "a, b.png",
    type: "image/png",
    size: 4096,
  });
  assert.equal(imageOf("[image: no]"), null);
  const object = { message_id: 3, username: "ola", message_date: 1, message_text: "[image: a, image/gif, 7]" };
  assert.equal(rowOf(object).image, null, "somebody may write so");
  assert.equal(rowOf({ ...object, image: true }).image.name, "a");
});
