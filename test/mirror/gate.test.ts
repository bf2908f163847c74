// What holds a secret reaches no target, or reaches it covered; and nothing that is written names the value.
import { mkdirSync, readdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, suite, test } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { driveUpload, openMemory, type OpenOptions } from "../../src/open.ts";
import { createMemoryTarget, type MemoryTarget } from "../../src/testing/memory-target.ts";
import { codeOf, freshRoots, sha256 } from "../memory/root.ts";
import { samples } from "../secrets/samples.ts";
import { histories } from "./place.ts";

const roots = freshRoots();
const valueOf = (rule: string) => samples.find((sample) => sample.rule === rule)?.value ?? "";
const TOKEN = valueOf("github-token");
const OTHER = valueOf("google-api-key");
const TEXT = `first line\nthe key is ${TOKEN} since May\n`;
const cover = (text: string) => text.replaceAll(TOKEN, "*".repeat(TOKEN.length));

const targets = { drive: { type: "gdrive", enabled: true } };

/** A memory with one target that lives in memory; opened again with the same options, and other keys in paths.json. */
async function place(more: Record<string, unknown> = {}, root = roots.make({ targets, ...more }), drive = createMemoryTarget()) {
  const options: OpenOptions = { targets: { drive }, retryBaseMs: 0 };
  const memory = await roots.open(root, options);
  return { root, drive, options, memory, at: (key: string) => contentAt(drive, key) };
}

const contentAt = (drive: MemoryTarget, key: string) => {
  const object = drive.objects().find((one) => one.key === key);
  return object && Buffer.from(object.bytes).toString("utf8");
};

/** Everything that was written below `folder`, as one text; archive copies and files of the memory itself left out. */
function writtenBelow(folder: string, except: RegExp): string {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => !except.test(name) && statSync(join(folder, name)).isFile())
    .map((name) => `${name}\n${readFileSync(join(folder, name), "latin1")}`)
    .join("\n");
}

const lines = (root: string, log: string) =>
  readFileSync(join(root, "logs", log), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

suite("block, which is the default", () => {
  test("the file and its archive copies reach no target, and it is said by rule and place", async () => {
    const { root, memory, drive } = await place();
    const receipt = await memory.replace("Meta/a.txt", TEXT);
    const result = await memory.upload("Meta/a.txt");
    expect(result).toMatchObject({ status: "fail", code: "E_BLOCKED", attempts: 0, targets: [{ target: "drive" }] });
    expect(result.notes).toMatch(/Meta\/a\.txt holds what looks like a secret: github-token at 2:12 \([0-9a-f]{16}\)/);
    await memory.replace("Meta/a.txt", "nothing to see\n");
    await memory.archive("Meta/a.txt");
    await memory.flush();
    const files = drive
      .objects()
      .map(({ key }) => key as string)
      .filter((key) => !key.startsWith(".aftersave/"));
    expect(files).toEqual([expect.stringMatching(/^Archive\/Meta\/a_/)]); // the copy of what was harmless
    expect(drive.objects().some(({ bytes }) => Buffer.from(bytes).includes(TOKEN))).toBe(false);
    const status = await memory.status();
    expect(status).toMatchObject({
      blocked: 1,
      failed: 0,
      pending: 0,
      targets: { drive: { state: "ok", failed: 0, code: null } },
    });
    expect(status.blocked_list).toEqual([
      {
        target: "drive",
        code: "E_BLOCKED",
        file: expect.stringMatching(/^Archive\//) as string,
        notes: expect.stringContaining("github-token at 2:12") as string,
      },
    ]);
    expect(memory.check(status)).toBe(5);
    await memory.close();
    expect(lines(root, "upload_log.json").filter(({ status: one }) => one === "blocked").length).toBeGreaterThanOrEqual(2);
    expect(lines(root, "upload_log.json").find(({ status: one }) => one === "blocked")).toMatchObject({
      file: "Meta/a.txt",
      version: receipt.version,
      attempts: 0,
      drive_path: "Drive/MemoryVDB/Meta/a.txt",
    });
  });

  test("other files go on, and the file too once the secret is taken out", async () => {
    const { memory, at } = await place();
    await memory.replace("Meta/a.txt", TEXT);
    await memory.replace("Meta/b.txt", "harmless\n");
    expect(await memory.flush()).toMatchObject({ uploaded: 1, failed: 1 });
    expect([at("Meta/a.txt"), at("Meta/b.txt")]).toEqual([undefined, "harmless\n"]);
    await memory.replace("Meta/a.txt", "taken out\n");
    await memory.flush();
    expect(at("Meta/a.txt")).toBe("taken out\n");
  });

  test("no worker tries in vain: only who asks for everything looks again", async () => {
    const { memory } = await place();
    await memory.append("Meta/a.txt", TEXT);
    const outcomes: string[] = [];
    const onOutcome = ({ status }: { status: string }) => void outcomes.push(status);
    await memory.work({ onOutcome });
    await memory.work({ onOutcome });
    expect(outcomes).toEqual(["blocked"]);
    await memory.flush({ onOutcome });
    expect(outcomes).toEqual(["blocked", "blocked"]);
    expect((await memory.status()).targets["drive"]).toMatchObject({ state: "new", code: null }); // it is no fault of the target's
  });

  test("a secret in the middle of a large file is found", async () => {
    const { memory, at } = await place();
    await memory.replace("Meta/big.bin", Buffer.concat([Buffer.alloc(3 << 20), Buffer.from(TOKEN), Buffer.alloc(3 << 20)]));
    expect(await memory.upload("Meta/big.bin")).toMatchObject({ code: "E_BLOCKED" });
    expect(at("Meta/big.bin")).toBeUndefined();
  });

  test("driveUpload answers fail with the code, and throws nothing", async () => {
    const { root, memory, options } = await place();
    await memory.append("Meta/a.txt", TEXT);
    await memory.close();
    expect(await driveUpload("Data/Meta/a.txt", {}, { ...options, root })).toMatchObject({ status: "fail", code: "E_BLOCKED" });
  });
});

suite("mask", () => {
  test("what leaves is covered, and nothing else is changed, here least of all", async () => {
    const { root, memory, at } = await place({ secrets: "mask" });
    const { sha256: own } = await memory.replace("Meta/a.txt", TEXT);
    const result = await memory.upload("Meta/a.txt");
    expect(result).toMatchObject({ status: "success" });
    expect(result.notes).toMatch(/^masked: github-token at 2:12/);
    expect(at("Meta/a.txt")).toBe(cover(TEXT));
    expect(readFileSync(join(root, "Data/Meta/a.txt"), "utf8")).toBe(TEXT);
    expect((await memory.show("Meta/a.txt")).sha256).toBe(own);
    expect(await memory.upload("Meta/a.txt")).toMatchObject({ status: "skipped" });
    await memory.close();
    const [line] = lines(root, "upload_log.json");
    expect(line).toMatchObject({ status: "success", sha256: sha256(cover(TEXT)), size: TEXT.length });
  });

  test("an older masked copy of ours is no conflict", async () => {
    const { root, memory, drive, at } = await place({ secrets: "mask" });
    await memory.replace("Meta/a.txt", TEXT);
    await memory.flush();
    await memory.append("Meta/a.txt", "more\n");
    await memory.flush();
    drive.edit("Meta/a.txt" as Key, cover(TEXT)); // someone put the first one back
    await memory.append("Meta/a.txt", `and ${TOKEN}\n`);
    expect(await memory.flush()).toMatchObject({ failed: 0 });
    expect(at("Meta/a.txt")).toBe(cover(`${TEXT}more\nand ${TOKEN}\n`));
    expect((await memory.status()).conflicts).toBe(0);
    expect(lines(root, "upload_log.json").some(({ status }) => status === "conflict")).toBe(false);
  });

  test("a zone's own policy counts, also for its archive copies", async () => {
    const { memory, drive } = await place({ secrets: { Chats: "mask", Notes: "allow" } });
    for (const key of ["Chats/a.txt", "Notes/a.txt", "Meta/a.txt"]) {
      await memory.replace(key, TEXT);
      await memory.replace(key, "another\n");
    }
    await memory.flush();
    const copies = drive.objects().filter(({ key }) => key.startsWith("Archive/"));
    const held = Object.fromEntries(copies.map(({ key, bytes }) => [key.split("/")[1], Buffer.from(bytes).toString()]));
    expect(held).toEqual({ Chats: cover(TEXT), Notes: TEXT });
  });
});

suite("what is allowed", () => {
  test("by its fingerprint, when the memory is opened again; another value stays blocked", async () => {
    const { root, memory, drive, at } = await place();
    await memory.replace("Meta/a.txt", TEXT);
    await memory.replace("Meta/b.txt", `${TOKEN}\n${OTHER}\n`);
    await memory.flush();
    const [a, b] = await memory.secrets();
    expect(a).toMatchObject({ file: "Meta/a.txt", policy: "block", count: 1, blocked_at: ["drive"] });
    expect(b?.findings.map(({ rule, line, column }) => [rule, line, column])).toEqual([
      ["github-token", 1, 1],
      ["google-api-key", 2, 1],
    ]);
    const fingerprint = a?.findings[0]?.fingerprint;
    expect(b?.findings[0]?.fingerprint).toBe(fingerprint);
    await memory.close();
    const again = roots.make({ targets, secrets_allowed: [fingerprint] });
    const paths = readFileSync(join(again, "paths.json"));
    writeFileSync(join(root, "paths.json"), paths);
    const { memory: second } = await place({}, root, drive);
    await second.work(); // what was parked is due again, without anyone asking
    expect(at("Meta/a.txt")).toBe(TEXT);
    expect(at("Meta/b.txt")).toBeUndefined();
    expect(await second.secrets("Meta/a.txt")).toMatchObject([{ count: 0 }]);
  });

  test("the same value has another fingerprint in another memory", async () => {
    const seen = new Set<string | undefined>();
    for (const { memory } of [await place(), await place()]) {
      await memory.replace("Meta/a.txt", TEXT);
      seen.add((await memory.secrets("Meta/a.txt"))[0]?.findings[0]?.fingerprint);
    }
    expect(seen.size).toBe(2);
  });

  test("kept here for good: nothing is blocked any more, nothing was sent, and the next save asks anew", async () => {
    const { memory, drive } = await place();
    await memory.replace("Meta/a.txt", TEXT);
    await memory.flush();
    expect(await memory.keepHere("Meta/a.txt")).toEqual(["drive"]);
    expect(await memory.flush()).toMatchObject({ uploaded: 0, failed: 0, pending: 0 });
    const status = await memory.status();
    expect([status.blocked, memory.check(status)]).toEqual([0, 0]);
    expect(status.unprotected_bytes).toBe(TEXT.length);
    expect(drive.objects().some(({ key }) => key === "Meta/a.txt")).toBe(false);
    await memory.append("Meta/a.txt", "more\n");
    await memory.flush();
    expect((await memory.status()).blocked).toBe(1);
  });
});

suite("what a save says of itself", () => {
  test("is covered before it becomes history, in each of its fields, and the receipt says which", async () => {
    const { root, memory, drive } = await place();
    const words = { chat_name: `c ${TOKEN}`, context_tags: ["a", TOKEN], reason: `r ${OTHER}`, tool: TOKEN, model: TOKEN };
    const receipt = await memory.append("Meta/a.txt", "x\n", { ...words, session_id: `s ${TOKEN}` });
    expect(receipt.warnings).toEqual([expect.stringContaining("chat_name, context_tags, model, session_id, tool, reason")]);
    await memory.flush();
    const history = [...histories(drive).values()].join("");
    expect(history).toContain(`"chat_name":"c ${"*".repeat(TOKEN.length)}"`);
    expect(history).toContain(`"context_tags":["a","${"*".repeat(TOKEN.length)}"]`);
    await memory.close();
    expect(writtenBelow(root, /^$/).includes(TOKEN)).toBe(false);
  });

  test("is left alone where the zone's policy allows it, and where nothing is found", async () => {
    const { memory } = await place({ secrets: { Notes: "allow" } });
    const [note] = [
      await memory.append("Notes/a.txt", "x\n", { reason: TOKEN }),
      await memory.append("Meta/a.txt", "x", { reason: "why" }),
    ];
    expect(note.warnings).toEqual([]);
    expect((await memory.log("changes")).map(({ reason }) => reason)).toEqual([TOKEN, "why"]);
  });

  test("a name that holds a secret is refused before anything is touched, and the refusal does not repeat it", async () => {
    const { root, memory } = await place();
    const key = `Meta/${TOKEN}.txt`;
    for (const work of [memory.append(key, "x"), memory.replace(key, "x"), memory.saved(key), memory.upload(key)]) {
      const error = await work.then(
        () => undefined,
        (thrown: unknown) => thrown as Error & { hint?: string },
      );
      expect(error).toMatchObject({ code: "E_KEY_SECRET" });
      expect(`${error?.message} ${error?.hint} ${JSON.stringify(error)}`).not.toContain(TOKEN);
    }
    mkdirSync(join(root, "Data/Meta"), { recursive: true });
    writeFileSync(join(root, "Data", key), "x");
    const { refused } = await memory.sweep();
    expect(refused).toMatchObject([
      { path: expect.stringContaining("*".repeat(TOKEN.length)) as string, error: { code: "E_KEY_SECRET" } },
    ]);
    unlinkSync(join(root, "Data", key));
    expect(await codeOf(memory.append("Meta/sk-learn-and-task-based-notes.txt", "x"))).toBe("accepted");
    await memory.close();
    expect(writtenBelow(root, /^$/).includes(TOKEN)).toBe(false);
  });
});

test("no value is written anywhere but where the memory keeps its content", async () => {
  const values = samples.map(({ value }) => value);
  const { root, memory, drive } = await place({ secrets: { Chats: "mask" } });
  const outcomes: unknown[] = [];
  for (const [i, value] of values.entries()) {
    await memory.replace(`Meta/${i}.txt`, `a\n${value}\n`);
    await memory.replace(`Chats/${i}.txt`, `a\n${value}\n`);
  }
  await memory.flush({ onOutcome: (outcome) => void outcomes.push(outcome) });
  const status = await memory.status();
  expect(status.blocked).toBe(values.length);
  const told = JSON.stringify([outcomes, status, await memory.secrets(), await memory.doctor(), memory.notices]);
  await memory.close();
  const written = writtenBelow(root, /^Data\/|^\.aftersave\/heads\//);
  expect(written.includes("upload_log.json")).toBe(true);
  for (const value of values.flatMap((one) => one.split("\n").filter((line) => line.length > 15 && !line.includes("KEY")))) {
    expect(told.includes(value), value).toBe(false);
    expect(written.includes(value), value).toBe(false);
    expect(drive.objects().some(({ bytes }) => Buffer.from(bytes).includes(value))).toBe(false);
  }
});

test("a masked copy is known again after the memory was opened anew", async () => {
  const { root, memory, drive } = await place({ secrets: "mask" });
  await memory.replace("Meta/a.txt", TEXT);
  await memory.flush();
  await memory.close();
  const again = await openMemory({ root, targets: { drive } });
  expect(await again.upload("Meta/a.txt")).toMatchObject({ status: "skipped" });
  await again.close();
});
