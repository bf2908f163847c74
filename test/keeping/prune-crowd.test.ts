/** Prunes in two processes, while others save, restore and upload: nothing is lost, nothing is told that is not so. */
import { existsSync, mkdirSync } from "node:fs";
import { expect, it } from "vitest";
import { children } from "../recovery/children.ts";
import { expectChain, linesOf, makeRoot } from "../recovery/root.ts";

const rule = { keep_last: 3 };

it(
  "every accepted version is shown, what lines say went is gone, and both places end as the rules say",
  { timeout: 120_000 },
  async () => {
    const root = makeRoot({
      targets: {
        drive: { type: "folder", enabled: true, path: "./mirror/" },
        usb: { type: "folder", enabled: true, path: "./usb/" },
      },
      guard: "off",
      retention: { "*": { ...rule, on_targets: { usb: rule } } },
    });
    mkdirSync(root.at("usb"));
    const held = new Map<string, string>();
    const first = await root.open();
    for (let n = 0; n < 12; n++)
      for (const key of ["Meta/a.txt", "Meta/c.txt"])
        held.set((await first.replace(key, `before ${n}\n`)).version, `before ${n}\n`);
    await first.flush();
    await first.close();

    const child = (...args: string[]) => ["../keeping/crowd.child.ts", root.path, ...args];
    const ended = await children([
      child("saves", "one", "20"),
      child("saves", "two", "20"),
      child("prune", "", "6"),
      child("prune", "", "6"),
      child("flush", "", "6"),
      child("restore", "", "10"),
    ]);
    for (const { code, stderr } of ended) expect(stderr || code).toBe(0);
    const told = ended.flatMap(({ stdout }) => JSON.parse(stdout) as [string, string][]);
    expect(told).toHaveLength(50);
    for (const [version, text] of told) held.set(version, text);

    const memory = await root.open();
    await memory.flush();
    await memory.prune();
    const again = await memory.prune();
    expect(again).toMatchObject({ removed: [], left: [] });
    const lines = await linesOf(root.changelog);
    const gone = { here: new Set<string>(), usb: new Set<string>() };
    for (const { op, details } of lines) {
      if (op !== "prune") continue;
      const { copies, from } = (details as { prunes: { copies: string[]; from: "here" | "usb" } }).prunes;
      for (const copy of copies) {
        expect(gone[from].has(copy), `${copy} went twice from ${from}`).toBe(false);
        gone[from].add(copy);
      }
    }
    const copies = lines.flatMap(({ archived_as }) => (typeof archived_as === "string" ? [archived_as] : []));
    expect(gone.here.size).toBeGreaterThan(copies.length - 9);
    for (const copy of copies) {
      expect(existsSync(root.at("Data", copy)), `${copy} here`).toBe(!gone.here.has(copy));
      expect(existsSync(root.at("usb/Drive/MemoryVDB", copy)), `${copy} on usb`).toBe(!gone.usb.has(copy));
      expect(existsSync(root.at("mirror/Drive/MemoryVDB", copy)), `${copy} on drive`).toBe(true);
    }
    const known = new Map(lines.map(({ version, file }) => [String(version), String(file)]));
    for (const [version, text] of held) {
      const pieces: Uint8Array[] = [];
      for await (const piece of (await memory.show(known.get(version) ?? "", { version })).open()) pieces.push(piece.slice());
      expect(Buffer.concat(pieces).toString(), version).toBe(text);
    }
    await expectChain(root.changelog, lines.length);
    for (const target of ["drive", "usb"]) expect((await memory.verify({ target, download: true })).findings).toEqual([]);
    expect((await memory.status()).conflicts).toBe(0);
  },
);
