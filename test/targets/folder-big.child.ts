/** Puts, reads and copies one file of 400 MiB and tells how much memory that took, in bytes. */
import { createHash } from "node:crypto";
import { parseKey } from "../../src/core/key.ts";
import { createFolderTarget } from "../../src/targets/folder.ts";

const part = Buffer.alloc(256 * 1024, 7);
const parts = 1600;
const hash = createHash("sha256");
for (let at = 0; at < parts; at++) hash.update(part);
async function* open() {
  for (let at = 0; at < parts; at++) yield part;
}
const target = createFolderTarget({ path: process.argv[2] ?? "", root: "Drive/MemoryVDB/" });
const [key, copy] = [parseKey("models/big.bin"), parseKey("models/copy.bin")];
const before = process.resourceUsage().maxRSS;
await target.put(key, { size: parts * part.length, sha256: hash.digest("hex"), open }, { signal: new AbortController().signal });
await target.copy(key, copy);
let got = 0;
await target.read(copy, async (bytes) => {
  for await (const chunk of bytes) got += chunk.length;
});
process.send?.({ got, memory: (process.resourceUsage().maxRSS - before) * 1024 });
