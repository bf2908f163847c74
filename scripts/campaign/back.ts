/**
 * `kill -9` of what brings back, settles, prunes and erases, against a model of what was accepted: after the kill each file
 * holds the old or the new content, and done again it ends as if nothing had happened.
 * @module
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { movesHead, NO_KEY, type Version } from "../../src/core/version.ts";
import { verifyChain } from "../../src/logs/verify.ts";
import { openMemory, type Memory, type PrunePlan } from "../../src/open.ts";
import { openState } from "../../src/state/state.ts";
import { seededRandom } from "../../src/testing/random.ts";
import type { BackOrders, Deed } from "./deeds.ts";
import { perform } from "./deeds.ts";
import { exists, filesBelow, foreignWrite, logLines, makeRoot, removeRoot, sha256 } from "./root.ts";

/** All that is killed, in the order in which one root has it. */
export const deeds = [
  "restore",
  "undo",
  "prune",
  "accept",
  "restore --at",
  "erase, by match",
  "reject",
  "restore --from",
  "undo, a session",
  "erase, by key",
  "restore --from, bare",
] as const;
export type DeedName = (typeof deeds)[number];

/** Key → sha256; null: it holds nothing. */
type Tree = ReadonlyMap<string, string | null>;

interface Known {
  readonly key: string;
  readonly content: Buffer | null;
}

/** What is to be done, and what shall be so then. */
interface Task {
  readonly deed: Deed;
  readonly after: Tree;
  /** Copies that go. */
  readonly prunes?: PrunePlan["removes"];
  /** Text that is nowhere any more. */
  readonly gone?: string;
}

const keys = ["Meta/a.md", "Meta/deep/b.txt", "Core/c.txt", "Kept/k.txt", "top.txt"];
const HELD = "Held/h.json";
const SYSTEM_CALLS = ["rename", "link", "unlink", "fsync", "fdatasync", "openat", "write", "pwrite64", "ftruncate", "chmod"];

const clock = { now: () => Date.now(), sleep: () => Promise.reject(new Error("the check never waits")) };

const bytesOf = async (memory: Memory, key: string, version: string): Promise<Buffer> => {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await memory.show(key, { version })).open()) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
};

const liveTree = (root: string): Map<string, string> =>
  new Map(
    filesBelow(join(root, "Data"))
      .filter((key) => !key.startsWith("Archive/"))
      .map((key) => [key, sha256(readFileSync(join(root, "Data", key)))]),
  );

const isTemporary = (key: string) => /\.aftersave-(tmp|old)$|\.\d{6,10}$/.test(key);

/** A small random memory that is killed again and again, each time at something else. */
export async function createBackVictim(program: string, seed: number, strace: boolean) {
  const random = seededRandom(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const places = mkdtempSync(join(tmpdir(), "aftersave-places-"));
  const config = {
    targets: {
      drive: { type: "folder", enabled: true, path: join(places, "drive") },
      usb: { type: "folder", enabled: true, path: join(places, "usb") },
    },
    guard: { "*": "off", Held: "hold" },
    retention: { Kept: { keep_last: 2, on_targets: { usb: { keep_last: 3 } } } },
  };
  foreignWrite(join(places, "drive/here"), "");
  foreignWrite(join(places, "usb/here"), "");
  const root = makeRoot(config);
  const model = new Map<string, Known>();
  const pruned = { here: new Set<string>(), drive: new Set<string>(), usb: new Set<string>() } as Record<string, Set<string>>;
  let [made, kills, began] = [0, 0, 0];
  const open = (path = root) => openMemory({ root: path, retryBaseMs: 1, env: {} });

  const withMemory = async <T>(work: (memory: Memory) => Promise<T>, path = root): Promise<T> => {
    const memory = await open(path);
    try {
      return await work(memory);
    } finally {
      await memory.close();
    }
  };

  const live = (key: string): Buffer | undefined =>
    exists(join(root, "Data", key)) ? readFileSync(join(root, "Data", key)) : undefined;

  /** One save, and what the model knows of it then. */
  const save = async (memory: Memory, key: string, op: "append" | "replace" | "archive", text = "", session = "old") => {
    const before = live(key) ?? Buffer.alloc(0);
    const meta = { chat_name: "campaign", session_id: session };
    const receipt = op === "archive" ? await memory.archive(key, meta) : await memory[op](key, text, meta);
    const content = op === "archive" ? null : op === "append" ? Buffer.concat([before, Buffer.from(text)]) : Buffer.from(text);
    model.set(receipt.version, { key, content });
    return receipt;
  };

  const text = (secret?: string) => {
    const lines = Array.from({ length: 1 + Math.floor(random() * 30) }, () => `line ${++made} ${"äx".repeat(random() * 20)}\n`);
    if (secret !== undefined) lines.splice(Math.floor(random() * lines.length), 0, `it is ${secret}, said once\n`);
    return lines.join("");
  };

  const some = async (memory: Memory, saves: number, session: string, secret?: string) => {
    for (let n = 0; n < saves; n++) {
      const key = pick(keys);
      const what = random();
      const told = n === 0 || random() < 0.3 ? secret : undefined;
      if (what < 0.5 || live(key) === undefined) await save(memory, key, "append", text(told), session);
      else if (what < 0.9) await save(memory, key, "replace", text(told), session);
      else await save(memory, key, "archive", "", session);
    }
  };

  const now = (): Map<string, string | null> => new Map(liveTree(root));

  /** Makes what the deed is about, and says what it will lead to. */
  const prepare = async (memory: Memory, name: DeedName): Promise<Task> => {
    const after = now();
    switch (name) {
      case "restore": {
        await some(memory, 3, "some");
        const held = [...model].filter(([, { key, content }]) => content !== null && keys.includes(key));
        const [version, { key, content }] = pick(held);
        return { deed: { does: "restore", file: key, version }, after: now().set(key, sha256(content ?? "")) };
      }
      case "undo":
      case "undo, a session": {
        const session = `session ${++made}`;
        await some(memory, name === "undo" ? 1 : 6, session);
        const version = [...model.keys()].at(-1) ?? "";
        const wish = name === "undo" ? { versions: [version] } : { session_id: session };
        const result = now();
        for (const { file, does, becomes } of (await memory.planUndo(wish)).actions)
          if (does !== "nothing" && does !== "conflict") result.set(file, becomes?.sha256 ?? null);
        // what a session began with is what it is undone to
        for (const key of keys) if ((result.get(key) ?? null) !== (after.get(key) ?? null)) throw new Error(`undo leaves ${key}`);
        return { deed: { does: "undo", wish }, after: result };
      }
      case "prune": {
        for (let n = 0; n < 5; n++) await save(memory, "Kept/k.txt", "replace", text());
        await memory.flush();
        const { removes } = await memory.planPrune();
        return { deed: { does: "prune" }, after: now(), prunes: removes };
      }
      case "accept":
      case "reject": {
        await save(
          memory,
          HELD,
          "replace",
          `${JSON.stringify({ text: text(), list: Array.from({ length: 40 }, () => ++made) }, null, 1)}\n`,
        );
        const inFile = random() < 0.5;
        const bad = `{ "broken": ${++made}`;
        const was = now();
        if (inFile) {
          foreignWrite(join(root, "Data", HELD), bad);
          const { version } = await memory.saved(HELD);
          model.set(version, { key: HELD, content: Buffer.from(bad) });
        } else await memory.replace(HELD, bad).catch(() => undefined);
        const [held] = await memory.held();
        if (!held) throw new Error("nothing was held");
        if (name === "accept") was.set(HELD, sha256(bad));
        return { deed: { does: name, version: held.version }, after: was };
      }
      case "restore --at": {
        await pause(2);
        const at = new Date().toISOString();
        const was = now();
        await pause(2);
        await some(memory, 6, "later");
        return { deed: { does: "restore --at", at }, after: was };
      }
      case "restore --from": {
        await memory.flush();
        const was = now();
        for (const key of keys) {
          if (live(key) === undefined) continue;
          if (random() < 0.5) foreignWrite(join(root, "Data", key), text());
          else await save(memory, key, "replace", text());
        }
        for (const { version, file } of (await memory.sweep()).changed)
          model.set(version, { key: file, content: live(file) ?? null });
        return { deed: { does: "restore --from" }, after: was };
      }
      case "restore --from, bare":
        await memory.flush();
        return { deed: { does: "restore --from, bare" }, after: now() };
      case "erase, by match": {
        const secret = `secret-${seed}-${++made}-in-it`;
        await some(memory, 6, "talk", secret);
        if (random() < 0.7) await memory.flush();
        const result = now();
        for (const key of result.keys()) {
          const bytes = live(key) as Buffer;
          result.set(key, sha256(bytes.toString().replaceAll(secret, "[erased]")));
        }
        for (const [version, { key, content }] of model)
          model.set(version, { key, content: content && Buffer.from(content.toString().replaceAll(secret, "[erased]")) });
        return { deed: { does: "erase", wish: { match: secret } }, after: result, gone: secret };
      }
      case "erase, by key": {
        const stem = `gone-${seed}-${++made}`;
        const key = `Gone/${stem}.txt`;
        for (let n = 0; n < 4; n++) await save(memory, key, n === 0 || random() < 0.5 ? "append" : "replace", text());
        if (random() < 0.7) await memory.flush();
        for (const [version, known] of model) if (known.key === key) model.delete(version);
        return { deed: { does: "erase", wish: { key } }, after, gone: stem };
      }
    }
  };

  /** Starts the program, and kills it at a step, at a system call or at some moment: as `own` says. */
  const killed = async (at: string, deed: Deed, own: number): Promise<string> => {
    const chance = seededRandom(own);
    const way = chance() * (strace ? 3 : 2);
    const orders: BackOrders = { root: at, deed, step: way < 1 ? 1 + Math.floor(chance() * 14) : undefined };
    const call = SYSTEM_CALLS[Math.floor(chance() * SYSTEM_CALLS.length)] ?? "";
    const inject = `inject=${call}:signal=SIGKILL:when=${1 + Math.floor(chance() * (call === "openat" ? 120 : 40))}`;
    const traced = way >= 2 ? ["strace", "-f", "-qq", "-o", "/dev/null", "-e", `trace=${call}`, "-e", inject] : [];
    const [command, ...rest] = [...traced, process.execPath, program, JSON.stringify(orders)];
    const env = { ...process.env, NODE_OPTIONS: "", UV_THREADPOOL_SIZE: traced.length > 0 ? "1" : "4" };
    const child = spawn(command ?? process.execPath, rest, { stdio: ["ignore", "pipe", "pipe"], env });
    const wait = chance() * 60;
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (piece: string) => (said += piece));
    child.stdout.once("data", () => {
      if (way >= 1 && way < 2) setTimeout(() => child.kill("SIGKILL"), wait);
    });
    return new Promise((resolve, reject) =>
      child.on("error", reject).on("close", (code, signal) => {
        const dead = signal === "SIGKILL" || code === 137;
        if (dead) kills++;
        resolve(dead || code === 0 ? "" : `the process ended with ${code}: ${said}`);
      }),
    );
  };

  /** Each file is what it was, or what it shall be. */
  const oldOrNew = (at: string, before: Tree, after: Tree): string[] => {
    const found = liveTree(at);
    const problems: string[] = [];
    for (const key of new Set([...before.keys(), ...after.keys(), ...found.keys()])) {
      const hash = found.get(key) ?? null;
      if (hash === (before.get(key) ?? null) || hash === (after.get(key) ?? null) || isTemporary(key)) continue;
      problems.push(`killed, ${key} holds neither the old nor the new content`);
    }
    return problems;
  };

  /** Everything that must hold when it was done to its end. */
  const examine = async (at: string, { deed, after, prunes = [], gone }: Task): Promise<string[]> => {
    const problems: string[] = [];
    const bare = deed.does === "restore --from, bare";
    ageSpools(at);
    await withMemory(async (memory) => {
      const { changed, refused } = await memory.sweep();
      for (const { file } of changed) problems.push(`${file} is not what was accepted`);
      for (const { path } of refused) problems.push(`${path} is refused`);
      const { pending, failed } = await memory.flush();
      const { conflicts } = await memory.status();
      if (pending + failed + conflicts > 0) problems.push(`${pending} pending, ${failed} failed, ${conflicts} conflicts`);
      for (const target of bare ? ["drive"] : ["drive", "usb"])
        for (const finding of (await memory.verify({ target, download: true })).findings)
          problems.push(`verify ${target}: ${JSON.stringify(finding)}`);
      await memory.doctor({ fix: true });
      for (const { level, part, message } of await memory.doctor())
        if (level !== "ok" && !message.includes("own disk")) problems.push(`doctor: ${part}: ${message}`);
      for (const [version, { key, content }] of model) {
        if (content === null) continue;
        const shown = await bytesOf(memory, key, version).catch((error: unknown) => String(error));
        if (typeof shown === "string") problems.push(`${version} of ${key} is not shown: ${shown}`);
        else if (!shown.equals(content)) problems.push(`${version} of ${key} is shown as other bytes`);
      }
    }, at);
    const state = await openState(join(at, ".aftersave"), clock);
    const versions: Version[] = [];
    try {
      for await (const version of state.saves.versions()) versions.push(version);
      if ((await state.saves.intents()).length > 0) problems.push("an intent was left behind");
      const bases = new Set<string>();
      for await (const { base } of state.saves.heads()) bases.add(base);
      for (const which of ["open", "accepted", "rejected"] as const)
        for (const { version } of await state.decisions.held(which)) bases.add(version);
      for (const path of filesBelow(join(at, ".aftersave/heads")))
        if (!bases.has(path.split("/").at(-1) ?? "")) problems.push(`the kept copy ${path} is nobody's`);
      const copies = new Map<string, { sha256: string; pruned: boolean }>();
      for await (const copy of state.saves.archiveCopies()) copies.set(copy.key, copy);
      problems.push(...placesAs(at, copies, prunes, after, bare));
    } finally {
      await state.close();
    }
    problems.push(...(await asAccepted(at, versions, after)));
    problems.push(...leftovers(at));
    if (gone !== undefined) for (const folder of [at, places]) problems.push(...standsIn(folder, gone));
    return problems;
  };

  /** The tree, the archive and the mirrors hold what they shall, and nothing else. */
  const placesAs = (
    at: string,
    copies: ReadonlyMap<string, { sha256: string; pruned: boolean }>,
    prunes: PrunePlan["removes"],
    after: Tree,
    bare: boolean,
  ): string[] => {
    const problems: string[] = [];
    if (!bare) for (const { copy, from } of prunes) pruned[from]?.add(copy);
    const folders = {
      here: join(at, "Data"),
      drive: join(places, "drive/Drive/MemoryVDB"),
      usb: join(places, "usb/Drive/MemoryVDB"),
    };
    const live = [...after].filter((pair): pair is [string, string] => pair[1] !== null);
    for (const [name, folder] of Object.entries(folders)) {
      if (bare && name === "usb") continue;
      const found = new Set(filesBelow(folder).filter((path) => !path.startsWith(".aftersave/") && !isTemporary(path)));
      for (const [key, hash] of [...live, ...[...copies].map(([key, copy]) => [key, copy.sha256] as const)]) {
        const went = pruned[name]?.has(key) === true;
        if (went === found.delete(key)) problems.push(`${key} is ${went ? "still" : "not"} in ${name}`);
        else if (!went && sha256(readFileSync(join(folder, key))) !== hash) problems.push(`${key} has other bytes in ${name}`);
      }
      for (const stray of found) if (name === "here" || !known(stray)) problems.push(`${stray} was left in ${name}`);
    }
    return problems;
  };
  /** A mirror keeps a file that was archived here. */
  const known = (key: string) => [...model.values()].some((one) => one.key === key);

  /** The chain is whole, nothing that was accepted is gone, and what came is what was to come. */
  const asAccepted = async (at: string, versions: readonly Version[], after: Tree): Promise<string[]> => {
    const problems: string[] = [];
    const lines = logLines(at, "memory_changelog");
    const { broken, verified } = await verifyChain(lines, versions.at(-1));
    if (broken || verified !== versions.length || lines.length !== versions.length)
      problems.push(`the changelog has ${lines.length} lines for ${versions.length} versions: ${JSON.stringify(broken)}`);
    const ids = new Set(versions.map(({ version }) => version));
    for (const id of model.keys()) if (!ids.has(id)) problems.push(`the accepted ${id} is gone`);
    for (const key of new Set([...after.keys(), ...[...model.values()].map((one) => one.key)])) {
      const hash = after.get(key) ?? null;
      const content = exists(join(at, "Data", key)) ? readFileSync(join(at, "Data", key)) : null;
      if ((content && sha256(content)) !== hash) problems.push(`${key} does not hold what it should at last`);
      for (const line of versions) {
        if (line.place <= began || line.file !== key || !movesHead(line) || model.has(line.version)) continue;
        if (line.commitment === null && line.sha256 !== hash)
          problems.push(`nobody asked for ${line.op} of ${key} (${line.version})`);
        else model.set(line.version, { key, content });
      }
    }
    for (const { file, place, op } of versions)
      if (place > began && file !== NO_KEY && !after.has(file) && !known(file))
        problems.push(`nobody asked for ${op} of ${file}`);
    return problems;
  };

  return {
    kills: () => kills,
    /** Kills it on its way, does it again and answers what is broken then. */
    async at(name: DeedName, own: number): Promise<readonly string[]> {
      const task = await withMemory((memory) => prepare(memory, name));
      const bare = name === "restore --from, bare";
      const at = bare ? makeRoot(config) : root;
      try {
        if (bare) rmSync(join(at, "Data"), { recursive: true });
        began = bare ? 0 : lastPlace(at);
        const before: Tree = new Map(liveTree(at));
        const problems: string[] = [];
        for (let times = 0; times < 2; times++) {
          const fault = await killed(at, task.deed, own + times);
          if (fault !== "") problems.push(fault);
          problems.push(...oldOrNew(at, before, task.after));
        }
        if (!isDone(task, at)) await withMemory((memory) => perform(memory, task.deed), at);
        problems.push(...(await examine(at, task)));
        if (bare && changelog(at) !== changelog(root)) problems.push("the history is not the one that it was");
        return problems;
      } finally {
        if (bare) removeRoot(at);
      }
    },
    remove() {
      removeRoot(root);
      rmSync(places, { recursive: true });
    },
  };

  /** An undo of one save that was done is not done again: it would take nothing back. */
  function isDone({ deed, after }: Task, at: string): boolean {
    if (deed.does !== "undo") return false;
    const found = liveTree(at);
    return [...after].every(([key, hash]) => (found.get(key) ?? null) === hash);
  }

  function lastPlace(at: string): number {
    return Number(logLines(at, "memory_changelog").at(-1)?.["place"] ?? 0);
  }
}

const changelog = (root: string) => readFileSync(join(root, "logs/memory_changelog.json"), "utf8");

const OWN = [
  /^paths\.json$/,
  /^(Data|llama)\//,
  /^logs\/(memory_changelog|upload_log|archive_log)\.json$/,
  /^\.aftersave\/(heads\/.\/[0-9A-Z]{26}|state\.db(-wal|-shm)?|writer\.json|locks\/.*|diagnostic\.log|spool\/elsewhere-[0-9a-f]{64}|[a-z]+\.(key|json))$/,
];

/** Bodies that were being taken in go when they are old. */
function ageSpools(root: string): void {
  const folder = join(root, ".aftersave/spool");
  for (const name of filesBelow(folder)) if (!name.startsWith("elsewhere-")) utimesSync(join(folder, name), 0, 0);
}

/** Files that no one needs any more. */
function leftovers(root: string): string[] {
  return filesBelow(root)
    .filter((path) => !OWN.some((own) => own.test(path)) || (path.startsWith("Data/") && isTemporary(path)))
    .map((path) => `${path} was left behind`);
}

/** Files in which a text stands, in any form in which one may have it. */
function standsIn(folder: string, text: string): string[] {
  const forms = [text, Buffer.from(text, "utf16le").toString("latin1")];
  return filesBelow(folder)
    .filter((path) => path.includes(text) || forms.some((form) => readFileSync(join(folder, path)).includes(form, "latin1")))
    .map((path) => `${path} still says what was erased`);
}
