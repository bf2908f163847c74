// Erased text that comes back from outside: a file that someone copied back, a mirror that was restored.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeRoot } from "../recovery/root.ts";
import { expectGone, filesWith } from "./erase-root.ts";

const SECRET = "zebra-crossing-at-noon";

describe("what was copied back", () => {
  it.each(["reject", "accept"] as const)("goes to no target, also after %s, and is named with the way out", async (how) => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/n.txt", `one ${SECRET}\n`);
    await memory.flush();
    const old = join(root.path, "old");
    cpSync(root.at("Data/Meta/n.txt"), old);
    const { erasure } = await memory.erase({ match: SECRET });
    await memory.flush();
    cpSync(old, root.at("Data/Meta/n.txt"));
    rmSync(old);
    const { changed } = await memory.sweep();
    expect(changed[0]?.alarms[0]?.says).toMatch(/erase it again/);
    const version = changed[0]?.version ?? "";
    if (how === "reject") await memory.reject(version);
    else await memory.accept(version);
    const outcomes: unknown[] = [];
    await memory.flush({ onOutcome: (outcome) => outcomes.push(outcome) });
    expect(filesWith(root.at("mirror"), SECRET)).toEqual([]);
    expect(outcomes).toContainEqual(expect.objectContaining({ status: "blocked", code: "E_ERASED" }));
    const status = await memory.status();
    expect(status).toMatchObject({
      blocked: 1,
      failed: 0,
      pending: 0,
      blocked_list: [{ notes: expect.stringMatching(/Erase it again/) }],
    });
    expect(memory.check(status)).toBe(5);
    const next = await root.open(); // the next command is a process of its own
    expect(next.check(await next.status())).toBe(5);
    await next.close();
    expect(await memory.secrets()).toEqual([]);

    await memory.erase({ match: SECRET });
    await memory.flush();
    expectGone(root.path, SECRET);
    expect(await memory.status()).toMatchObject({ blocked: 0, failed: 0, pending: 0 });
    await memory.liftErasure(erasure ?? "");
  });

  it("is held no more when it was erased again, and blocked by one erasure only", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/n.txt", `one ${SECRET}\n`);
    await memory.erase({ match: SECRET });
    await memory.flush();
    writeFileSync(root.at("Data/Meta/n.txt"), `again ${SECRET}\n`);
    await memory.sweep();
    expect((await memory.status()).held).toBe(1);
    await memory.erase({ match: SECRET });
    await memory.flush();
    const settled = { held: 0, held_uploads: 0, blocked: 0, pending: 0 };
    expect(await memory.status()).toMatchObject(settled);
    expect(await memory.erasures()).toHaveLength(1);
    expect(readFileSync(root.at("mirror/Drive/MemoryVDB/Meta/n.txt"), "utf8")).toBe("again [erased]\n");
    await memory.close();
    rmSync(root.state); // what the lines say is the same
    const again = await root.open();
    await again.flush();
    expect(await again.status()).toMatchObject(settled);
  });

  it("goes when the erasure was a mistake and is lifted", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/n.txt", `one ${SECRET}\n`);
    const { erasure } = await memory.erase({ match: SECRET });
    writeFileSync(root.at("Data/Meta/n.txt"), `again ${SECRET}\n`);
    const { changed } = await memory.sweep();
    await memory.accept(changed[0]?.version ?? "");
    await memory.flush();
    expect((await memory.status()).blocked).toBe(1);
    await memory.liftErasure(erasure ?? "");
    await memory.flush();
    expect((await memory.status()).blocked).toBe(0);
    expect(filesWith(root.at("mirror"), SECRET)).not.toEqual([]);
  });
});

describe("a mirror that was brought back", () => {
  it("loses the text with the next upload; it is not kept aside, what strangers wrote is", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", `one ${SECRET}\n`);
    await memory.append("Meta/B.txt", "b\n");
    await memory.flush();
    cpSync(root.at("mirror"), join(root.path, "disk"), { recursive: true });
    await memory.erase({ match: SECRET });
    await memory.flush();
    mkdirSync(root.at("mirror"), { recursive: true });
    cpSync(join(root.path, "disk/Drive/MemoryVDB/Meta"), root.at("mirror/Drive/MemoryVDB/Meta"), { recursive: true });
    rmSync(join(root.path, "disk"), { recursive: true });
    writeFileSync(root.at("mirror/Drive/MemoryVDB/Meta/B.txt"), "a stranger's\n");
    await memory.append("Meta/A.txt", "two\n");
    await memory.append("Meta/B.txt", "bb\n");
    const notes: string[] = [];
    await memory.flush({ onOutcome: (outcome) => notes.push(outcome.notes) });
    expectGone(root.path, SECRET);
    expect(notes.join("\n")).toMatch(/what was erased lay there again; it was removed for good/);
    expect((await memory.status()).conflict_list).toMatchObject([{ file: "Meta/B.txt" }]);
    expect(filesWith(root.at("mirror"), "a stranger's")).not.toEqual([]);
  });
});
