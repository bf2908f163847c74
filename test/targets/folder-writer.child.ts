/** Writes whole files of one repeated letter until it is killed. */
import { parseKey } from "../../src/core/key.ts";
import { createFolderTarget } from "../../src/targets/folder.ts";
import { sourceOf } from "../../src/testing/index.ts";

const target = createFolderTarget({ path: process.argv[2] ?? "", root: "Drive/MemoryVDB/" });
const letters = ["a", "b", "c", "d"].map((letter) => sourceOf(letter.repeat(200_000)));
process.send?.("ready");
for (let at = 0; ; at++) {
  const letter = letters[at % 4];
  if (letter === undefined) break;
  const key = parseKey(`Core/${at % 3}.txt`);
  await target.put(key, letter, { expect: (await target.stat(key)) ?? "absent" });
}
