// Images made for the tests.

import zlib from "node:zlib";

/** A PNG of a landscape, so many pixels wide and high, with so many bytes behind its end. */
export function png(width, height, padding = 0) {
  const rows = [];
  for (let y = 0; y < height; y += 1) {
    const row = Buffer.alloc(1 + 3 * width);
    for (let x = 0; x < width; x += 1) {
      const hill = y > height * 0.66 + height * 0.07 * Math.sin((9 * x) / width);
      const sun = Math.hypot(x - 0.67 * width, y - 0.36 * height) < 0.14 * height;
      const dusk = y / height;
      const sky = sun ? [255, 214, 120] : [250 - 120 * dusk, 170 - 60 * dusk, 120 + 60 * dusk];
      row.set(hill ? [40, 70, 80] : sky.map(Math.round), 1 + 3 * x);
    }
    rows.push(row);
  }
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const frame = Buffer.alloc(8 + body.length);
    frame.writeUInt32BE(data.length, 0);
    body.copy(frame, 4);
    frame.writeUInt32BE(crc(body), 4 + body.length);
    return frame;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", head),
    chunk("IDAT", zlib.deflateSync(Buffer.concat(rows))),
    chunk("IEND", Buffer.alloc(0)),
    Buffer.alloc(padding),
  ]);
}

function crc(bytes) {
  let value = 0xffff_ffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ (value & 1 ? 0xedb8_8320 : 0);
  }
  return (value ^ 0xffff_ffff) >>> 0;
}
