/** CONTRACT section 3: the log lines, field for field. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { lines, makeRoot, open, read, write } from "./root.ts";

const fields = {
  upload_log: "timestamp file status attempts context_tags chat_name notes target drive_path version sha256 size",
  archive_log: "timestamp file archived_as input_hash reason version",
  memory_changelog:
    "timestamp place version op file sha256 size prev_sha256 archived_as chat_name context_tags model session_id tool reason origin salt sum prev",
};

test("every line has exactly the fields that are promised", async () => {
  const root = makeRoot();
  const memory = await open(root);
  await memory.append("Meta/A.txt", "1\n", { reason: "why", origin: "agent" });
  await memory.replace("Meta/A.txt", "2\n");
  await memory.archive("Meta/A.txt");
  await memory.flush();
  await memory.close();
  for (const [log, names] of Object.entries(fields))
    for (const line of lines(root, log)) expect(Object.keys(line)).toEqual(names.split(" "));
  expect(lines(root, "memory_changelog").map(({ place, op }) => [place, op])).toEqual([
    [1, "append"],
    [2, "replace"],
    [3, "archive"],
  ]);
  expect(lines(root, "archive_log")[0]).toMatchObject({
    file: "Meta/A.txt",
    input_hash: createHash("sha256").update("1\n").digest("hex"),
  });
});

test("sum is what docs/cli-json.md says it is, computed here from the text alone", async () => {
  const root = makeRoot();
  const memory = await open(root);
  await memory.append("a.txt", "1", { chat_name: "ü", context_tags: ["x"] });
  await memory.append("a.txt", "2");
  await memory.close();
  const hex = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");
  let before: unknown = null;
  for (const line of lines(root, "memory_changelog")) {
    const { timestamp, place, version, op, salt, sum, prev, ...rest } = line;
    const commitment = hex(`${String(salt)}\n${JSON.stringify(Object.values(rest))}`);
    expect(prev).toBe(before);
    expect(sum).toBe(hex(JSON.stringify([prev, place, version, op, timestamp, commitment])));
    before = sum;
  }
});

test("an empty scaffold and a JSON array of the original are moved beside, JSON Lines are continued", async () => {
  const root = makeRoot();
  const old = '{"timestamp":"2026-01-01T00:00:00Z","file":"Data/Meta/A.txt","status":"success","attempts":1}\n';
  write(root, "logs/upload_log.json", old);
  write(root, "logs/archive_log.json", '[\n  {"file": "Data/Meta/A.txt"}\n]\n');
  write(root, "logs/memory_changelog.json", "[]");
  const memory = await open(root);
  await memory.append("a.txt", "1");
  await memory.replace("a.txt", "2");
  await memory.flush();
  await memory.close();
  expect(read(root, "logs/upload_log.json").startsWith(old)).toBe(true);
  expect(read(root, "logs/archive_log.json.before-aftersave")).toContain("Data/Meta/A.txt");
  expect(read(root, "logs/memory_changelog.json.before-aftersave")).toBe("[]");
  expect(lines(root, "memory_changelog")).toHaveLength(2);
});

test("a changelog that another program goes on writing is refused, with the cure; the cure brings all of it", async () => {
  const root = makeRoot();
  let memory = await open(root);
  await memory.append("a.txt", "1");
  await memory.close();
  const foreign = `${read(root, "logs/memory_changelog.json")}{"by":"another program"}\n`;
  write(root, "logs/memory_changelog.json", foreign);
  memory = await open(root);
  await memory.append("a.txt", "2");
  await memory.close();
  expect(read(root, "logs/memory_changelog.json")).toBe(foreign);
  expect(memory.notices.join("\n")).toMatch(/another program.*memory_changelog in paths\.json/s);
  write(
    root,
    "paths.json",
    JSON.stringify({
      memory_changelog: "logs/aftersave.json",
      targets: { drive: { type: "folder", enabled: true, path: "./" } },
    }),
  );
  memory = await open(root);
  await memory.append("a.txt", "3");
  await memory.close();
  expect(lines(root, "aftersave").map(({ place }) => place)).toEqual([1, 2, 3]);
});

test("a changelog that was cut or removed is written anew from the state", async () => {
  const root = makeRoot();
  let memory = await open(root);
  for (const text of ["1", "2", "3"]) await memory.append("a.txt", text);
  await memory.close();
  const [first = ""] = read(root, "logs/memory_changelog.json").split("\n");
  write(root, "logs/memory_changelog.json", `${first}\n`);
  memory = await open(root);
  await memory.append("a.txt", "4");
  await memory.close();
  expect(lines(root, "memory_changelog").map(({ place }) => place)).toEqual([1, 2, 3, 4]);
});

test("the chain survives rotation, and no line is lost by it", async () => {
  const root = makeRoot({ logs: { rotate: "2KiB" }, targets: { drive: { type: "folder", enabled: true, path: "./" } } });
  const memory = await open(root);
  for (let n = 0; n < 20; n++) {
    await memory.append("a.txt", `${n}\n`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await memory.close();
  const names = readdirSync(join(root, "logs")).filter((name) => name.startsWith("memory_changelog.json"));
  expect(names.length).toBeGreaterThan(1);
  const all = names
    .flatMap((name) => read(root, "logs", name).trimEnd().split("\n"))
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { place: number; prev: string | null; sum: string })
    .toSorted((a, b) => a.place - b.place);
  expect(all.map(({ place }) => place)).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
  for (const [n, line] of all.entries()) expect(line.prev).toBe(n === 0 ? null : all[n - 1]?.sum);
  expect(existsSync(join(root, "logs/memory_changelog.json.torn"))).toBe(false);
});
