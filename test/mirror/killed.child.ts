// Saves a little, uploads it, and is killed at the first write of its own files that it was told. killed.child.ts ROOT "put|done NAME-END" N
import { join } from "node:path";
import { forward } from "../../src/core/target.ts";
import { openMemory } from "../../src/open.ts";
import { createFolderTarget } from "../../src/targets/folder.ts";

const [root = "", when = "", n = ""] = process.argv.slice(2);
const [moment, end = ""] = when.split(" ");
const folder = createFolderTarget({ path: join(root, "mirror"), root: "Drive/MemoryVDB/" });
const die = () => process.kill(process.pid, "SIGKILL");
const target = forward(folder, {
  async put(key, body, guard) {
    const ours = key.startsWith(".aftersave/") && key.endsWith(end);
    if (ours && moment === "put") die();
    const entry = await folder.put(key, body, guard);
    if (ours) die();
    return entry;
  },
});
const memory = await openMemory({ root, env: {}, targets: { drive: target } });
for (let line = 0; line < 3; line++) await memory.append("Meta/notes.txt", `${n}.${line}\n`);
await memory.flush();
