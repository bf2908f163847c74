import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { expectChain, linesOf, makeRoot } from "../recovery/root.ts";
import { expectGone } from "./erase-root.ts";

const SECRET = "said-in-the-middle-of-it";

it("saves and uploads of two who have it open go on while a text is erased", { timeout: 60_000 }, async () => {
  const root = makeRoot();
  const [one, two] = [await root.open(), await root.open()];
  for (let n = 0; n < 10; n++) await one.append(`Z/${n % 3}.txt`, `${n} ${SECRET}\n`);
  await one.flush();
  const refused: unknown[] = [];
  const save = async (memory: typeof one, who: string) => {
    for (let n = 0; n < 30; n++)
      await memory.append(`Z/${n % 3}.txt`, `${who} ${n}\n`).catch((error: unknown) => void refused.push(error));
  };
  const uploads = async () => {
    for (let n = 0; n < 5; n++) await two.flush();
  };
  const [receipt] = await Promise.all([one.erase({ match: SECRET }), save(one, "one"), save(two, "two"), uploads()]);
  expect(refused).toEqual([]);
  expect(receipt.redacted).toBeGreaterThan(9);
  await one.flush();
  await two.close();
  await one.close();
  const memory = await root.open(); // what another process kept from being rewritten is done by now
  await memory.flush();
  expectGone(root.path, SECRET);
  for (let n = 0; n < 3; n++) {
    const lines = readFileSync(root.at(`Data/Z/${n}.txt`), "utf8").split("\n");
    expect(lines.filter((line) => /^(one|two) \d+$/.test(line))).toHaveLength(20);
    expect(readFileSync(root.at(`mirror/Drive/MemoryVDB/Z/${n}.txt`), "utf8")).toBe(lines.join("\n"));
  }
  await expectChain(root.changelog, (await linesOf(root.changelog)).length);
  expect((await memory.verify({ target: "drive" })).findings).toEqual([]);
  expect((await memory.status()).conflicts).toBe(0);
});
