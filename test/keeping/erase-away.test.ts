/** A disk that is not there, or whose empty mount point is, was not looked at: nothing that it may have is called erased. */
import { mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { EraseWish, Memory } from "../../src/index.ts";
import { codeOf } from "../memory/root.ts";
import { makeRoot, type Root } from "../recovery/root.ts";
import { expectGone, filesWith } from "./erase-root.ts";

const SECRET = "the diagnosis of Mr Q is D-7788";

/** The only copy of what chat cx wrote lies on usb; quote.txt quotes it. */
async function make(): Promise<{
  root: Root;
  memory: Memory;
  unplug: (empty: boolean) => Promise<Memory>;
  plug: () => Promise<Memory>;
}> {
  const folder = (path: string, root: string) => ({ type: "folder", enabled: true, path, root });
  const root = makeRoot({
    guard: "off",
    targets: { drive: folder("./mirror", "mem/"), usb: folder("./usb", "mem/") },
    retention: { "*": { keep_last: 1, on_targets: { drive: { keep_last: 1 } } } },
  });
  mkdirSync(root.at("usb"));
  let memory = await root.open();
  await memory.replace("Meta/A.txt", `first\n${SECRET}\n`, { chat_name: "cx" });
  await memory.replace("Meta/A.txt", "second\n");
  await memory.append("Meta/quote.txt", `quote: ${SECRET}\n`);
  await memory.flush();
  await memory.prune();
  await memory.flush();
  expect(filesWith(root.at("usb"), SECRET)).toHaveLength(2);
  expect(filesWith(root.at("mirror"), SECRET)).toHaveLength(1);
  const anew = async () => {
    await memory.close();
    return (memory = await root.open());
  };
  return {
    root,
    memory,
    unplug: async (empty) => {
      renameSync(root.at("usb"), root.at("usbX"));
      if (empty) mkdirSync(root.at("usb"));
      return anew();
    },
    plug: async () => {
      rmSync(root.at("usb"), { recursive: true, force: true });
      renameSync(root.at("usbX"), root.at("usb"));
      return anew();
    },
  };
}

const WISHES: readonly EraseWish[] = [{ chat: "cx" }, { match: "D-7788" }, { key: "Meta/A.txt" }];
const textOf = (wish: EraseWish) => wish.match ?? SECRET;

describe.each([true, false])("a disk that was taken away (an empty folder in its place: %s)", (empty) => {
  it.each(WISHES)("owes what only it may have: %o", async (wish) => {
    const made = await make();
    let memory = await made.unplug(empty);
    const receipt = await memory.erase(wish);
    expect(receipt.pending).toBeGreaterThan(0);
    expect(receipt.copies).toContainEqual(
      expect.objectContaining({ where: "usb", what: "unread content", outcome: "pending", code: "E_TARGET_UNREACHABLE" }),
    );
    expect(receipt.copies.filter(({ where, outcome }) => where === "usb" && outcome !== "pending")).toEqual([]);
    expect(receipt.remains.some(({ why }) => /not looked at yet/.test(why))).toBe(true);
    await memory.flush();
    if (empty) expect(filesWith(made.root.at("usb"), "memory_root")).toEqual([]);
    expect((await memory.status()).erasing).toBeGreaterThan(0);

    memory = await made.plug();
    await memory.flush();
    expectGone(made.root.path, textOf(wish));
    expect(readFileSync(made.root.at("Data/Meta/quote.txt"), "utf8")).not.toContain("D-7788");
    expect(await codeOf(memory.append("Meta/B.txt", `${textOf(wish)}\n`))).toBe("E_ERASED");
    const { erasing, pending } = await memory.status();
    expect({ erasing, pending }).toEqual({ erasing: 0, pending: 0 });
    expect(await memory.erasures()).toMatchObject([{ pending: 0 }]);
  });

  it("is done with by the same erase too", async () => {
    const made = await make();
    let memory = await made.unplug(empty);
    await memory.erase({ chat: "cx" });
    memory = await made.plug();
    expect(await codeOf(memory.erase({ chat: "cx" }))).toMatch(/accepted|E_NOT_FOUND/);
    await memory.flush();
    expectGone(made.root.path, SECRET);
    expect((await memory.status()).erasing).toBe(0);
  });
});

it("a place that was emptied for good is taken anew when someone says so", async () => {
  const made = await make();
  const memory = await made.unplug(true);
  await memory.erase({ chat: "cx" });
  await memory.flush();
  expect((await memory.status()).erasing).toBeGreaterThan(0);
  await memory.join("usb");
  await memory.flush();
  expect((await memory.status()).erasing).toBe(0);
  rmSync(made.root.at("usbX"), { recursive: true });
  expect(filesWith(made.root.at("usb"), "second")).toHaveLength(1);
});
