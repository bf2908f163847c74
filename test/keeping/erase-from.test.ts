import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { createMemoryTarget } from "../../src/testing/index.ts";
import { makeRoot } from "../recovery/root.ts";
import { expectGone } from "./erase-root.ts";

const SECRET = "what-nobody-shall-read";

it("a bare machine brings back from a target what an erasure left, under the same ids", async () => {
  const place = createMemoryTarget();
  const [root, bare] = [makeRoot(), makeRoot()];
  const memory = await root.open({ targets: { drive: place } });
  const one = await memory.append("Meta/A.txt", `one ${SECRET}\n`);
  await memory.replace("Meta/A.txt", "two\n");
  await memory.append("Meta/B.txt", `B ${SECRET}\n`);
  await memory.append("Meta/Gone.txt", "nothing of it\n");
  await memory.flush();
  await memory.erase({ match: SECRET });
  await memory.erase({ key: "Meta/Gone.txt" });
  await memory.append("Meta/B.txt", "more\n");
  await memory.flush();
  await memory.close();

  const other = await bare.open({ targets: { drive: place } });
  await other.restoreFrom("drive");
  expect(readFileSync(bare.at("Data/Meta/A.txt"), "utf8")).toBe("two\n");
  expect(readFileSync(bare.at("Data/Meta/B.txt"), "utf8")).toBe("B [erased]\nmore\n");
  const shown = await other.show("Meta/A.txt", { version: one.version });
  const pieces: Uint8Array[] = [];
  for await (const piece of shown.open()) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe("one [erased]\n");
  expectGone(bare.path, SECRET, "nothing of it");
});
