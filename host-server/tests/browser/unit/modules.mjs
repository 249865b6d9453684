// The page's modules, for node: it takes a `.js` file for a module where a package.json says so,
// and the page's folder has none, as browsers need none.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const source = fileURLToPath(new URL("../../../src/rooms/page/", import.meta.url));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "centrala-page-"));
process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
for (const name of fs.readdirSync(source).filter((name) => name.endsWith(".js"))) {
  fs.copyFileSync(path.join(source, name), path.join(folder, name));
}
fs.writeFileSync(path.join(folder, "package.json"), '{"type":"module"}');

/** A module of the page by its file's name. */
export const module = (name) => import(pathToFileURL(path.join(folder, name)).href);
