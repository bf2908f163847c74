import { expect, it } from "vitest";
import { TargetError } from "../../src/core/errors.ts";
import { forward, type Target } from "../../src/core/target.ts";
import { prove } from "../../src/mirror/prove.ts";
import { createMemoryTarget } from "../../src/testing/memory-target.ts";

async function left(target: Target): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of target.list("")) keys.push(key);
  return keys;
}

it("proves a target by a file of our own, and leaves nothing there", async () => {
  const target = createMemoryTarget();
  const put: string[] = [];
  await prove(forward(target, { put: (key, body, guard) => (put.push(key), target.put(key, body, guard)) }), "1");
  expect(put).toEqual([".aftersave/probe-1.txt"]);
  expect(await left(target)).toEqual([]);
});

it("fails on other bytes and on a fault, and takes the probe away all the same", async () => {
  const target = createMemoryTarget();
  async function* other() {
    yield Buffer.from("other");
  }
  const wrong = forward(target, { read: (_, use) => use(other()) });
  await expect(prove(wrong, "1")).rejects.toMatchObject({ code: "E_TARGET_CORRUPT" });
  expect(await left(target)).toEqual([]);
  const fault = new TargetError("auth", "no");
  const remove = () => Promise.reject(new Error("another"));
  const refusing = forward(target, { read: () => Promise.reject(fault) });
  await expect(prove(refusing, "2")).rejects.toBe(fault);
  expect(await left(target)).toEqual([]);
  await expect(prove(forward(refusing, { remove }), "3")).rejects.toBe(fault);
});
