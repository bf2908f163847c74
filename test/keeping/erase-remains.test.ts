// The receipt of an erasure claims no more than is so.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { codeOf } from "../memory/root.ts";
import { makeRoot } from "../recovery/root.ts";
import { expectGone, filesWith } from "./erase-root.ts";

const SECRET = "zebra-crossing-at-noon";
const GHP = "ghp_Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3d";

const MARK = Buffer.from("[erased]");

const saying = (remains: readonly { what: string }[]) => remains.map(({ what }) => what).join("\n");

describe("a receipt", () => {
  it("keeps no secret of its reason", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", `one ${SECRET}\n`);
    await memory.erase({ match: SECRET }, { reason: `leaked ${GHP}` });
    await memory.flush();
    await memory.close();
    expectGone(root.path, GHP);
    expect(readFileSync(root.changelog, "utf8")).toMatch(/"op": ?"erase"/);
    expect(filesWith(root.path, "leaked ").length).toBeGreaterThan(0);
  });

  it("names the keys whose name has the text, with the way out, and lets no new one in", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append(`Meta/${SECRET}.txt`, "innocent\n");
    await memory.append(`Meta/old-${SECRET}.txt`, "innocent too\n");
    await memory.archive(`Meta/old-${SECRET}.txt`);
    await memory.append("Meta/A.txt", "nothing of it\n");
    for (const dry_run of [true, false]) {
      const { remains, lines, erasure } = await memory.erase({ match: SECRET }, { dry_run });
      const names = remains.filter(({ what }) => what.startsWith("the name "));
      expect(names.map(({ what }) => what)).toEqual([`the name Meta/old-${SECRET}.txt`, `the name Meta/${SECRET}.txt`]);
      expect(names[1]?.cure).toContain(`aftersave erase "Meta/${SECRET}.txt"`);
      expect(lines).toBe(0);
      expect(erasure === null).toBe(dry_run);
    }
    expect(await codeOf(memory.append(`Meta/new ${SECRET}.txt`, "x\n"))).toBe("E_ERASED");
    await memory.append(`Meta/${SECRET}.txt`, "more\n");
    for (const key of [`Meta/${SECRET}.txt`, `Meta/old-${SECRET}.txt`]) await memory.erase({ key });
    expectGone(root.path, SECRET);
    expect(saying((await memory.erase({ match: SECRET }, { dry_run: true })).remains)).not.toMatch(/the name/);
  });

  it("names the places at which a target was before", async () => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", `one ${SECRET}\n`);
    await first.flush();
    expect(saying((await first.erase({ match: SECRET }, { dry_run: true })).remains)).not.toMatch(/was before/);
    await first.close();
    const config = JSON.parse(readFileSync(root.at("paths.json"), "utf8")) as Record<string, unknown>;
    writeFileSync(root.at("paths.json"), JSON.stringify({ ...config, drive_root: "Elsewhere/" }));
    const memory = await root.open();
    const { remains } = await memory.erase({ match: SECRET });
    expect(saying(remains)).toContain(join(root.path, "mirror/Drive/MemoryVDB"));
    expect(saying(remains)).toMatch(/where drive was before/);
    expect(saying(remains)).not.toMatch(/Elsewhere/);
  });

  it("names who else writes to a target, though nothing of theirs was read before", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", `one ${SECRET}\n`);
    await memory.flush();
    const other = makeRoot({ targets: { drive: { type: "folder", enabled: true, path: root.at("mirror") } } });
    const theirs = await other.open();
    await theirs.append("Meta/Theirs.txt", `theirs ${SECRET}\n`);
    await theirs.join("drive");
    await theirs.flush();
    await theirs.close();
    const own = readdirSync(root.at("mirror/Drive/MemoryVDB/.aftersave"));
    expect(own.length).toBeGreaterThan(2);
    const { remains } = await memory.erase({ match: SECRET });
    expect(saying(remains)).toMatch(/^what .+ wrote to drive$/m);
  });

  it("is of nothing when there was nothing, and blocks nothing then", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", "one\n");
    await memory.flush();
    expect(await memory.erase({ match: SECRET })).toMatchObject({ erasure: null, lines: 0, files: [], copies: [], pending: 0 });
    expect(await memory.erasures()).toEqual([]);
    expect(await codeOf(memory.append("Meta/A.txt", SECRET))).toBe("accepted");
  });

  it("says that other writings are not found; UTF-16, base64 and percent-encoding are", async () => {
    const root = makeRoot();
    const memory = await root.open();
    const wide = Buffer.from(`a ${SECRET} b ${SECRET}`, "utf16le");
    await memory.replace("Meta/LE.txt", wide);
    await memory.replace("Meta/BE.txt", Buffer.from(wide).swap16());
    await memory.replace("Meta/Base.json", JSON.stringify({ blob: Buffer.from(`it is ${SECRET}.`).toString("base64") }));
    await memory.replace("Meta/Link.txt", `see http://127.0.0.1/?q=${encodeURIComponent(` ${SECRET}!`)}\n`);
    await memory.flush();
    const { remains, redacted } = await memory.erase({ match: SECRET });
    await memory.flush();
    expect(redacted).toBe(4);
    expectGone(root.path, SECRET);
    const { blob } = JSON.parse(readFileSync(root.at("Data/Meta/Base.json"), "utf8")) as { blob: string };
    expect(blob).toMatch(/^.{8,9}\[erased\].{0,4}$/);
    const left = Buffer.concat([Buffer.from("a ", "utf16le"), MARK, Buffer.from(" b ", "utf16le"), MARK]);
    expect(readFileSync(root.at("Data/Meta/LE.txt"))).toEqual(left);
    const swapped = Buffer.concat([Buffer.from("a ", "utf16le").swap16(), MARK, Buffer.from(" b ", "utf16le").swap16(), MARK]);
    expect(readFileSync(root.at("Data/Meta/BE.txt"))).toEqual(swapped);
    expect(saying(remains)).toMatch(/base64 that is broken into lines/);
    expect(await memory.erasures()).toMatchObject([{ texts: 1 }]);
  });
});
