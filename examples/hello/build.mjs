// Turns src/ and wit/ into dist/main.wasm, and notes its SHA-256 beside it.

import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { componentize } from "componentize-qjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const { component } = await componentize({
  witPath: here("wit"),
  world: "hello",
  jsSource: await readFile(here("src/handler.js"), "utf8"),
  jsPath: here("src/handler.js"),
  moduleRoot: here("src"),
  optSize: true,
  sync: true, // the runner's handler is a plain function
  stubWasi: true, // nothing of it is needed, and runners offer different parts of it
});

await mkdir(here("dist"), { recursive: true });
await writeFile(here("dist/main.wasm"), component);
const digest = createHash("sha256").update(component).digest("hex");
await writeFile(here("dist/main.wasm.sha256"), `${digest}  main.wasm\n`);
console.log(`dist/main.wasm: ${component.length} bytes, sha256 ${digest}`);
