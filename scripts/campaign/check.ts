/**
 * What must hold of a memory root whatever was done to it: everything that was accepted is there, once.
 * @module
 */
import { createHash } from "node:crypto";
import { openSync, readSync, closeSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Key } from "../../src/core/key.ts";
import type { Version } from "../../src/core/version.ts";
import { createHeads } from "../../src/memory/heads.ts";
import { openMemory } from "../../src/open.ts";
import { verifyChain } from "../../src/logs/verify.ts";
import { openState } from "../../src/state/state.ts";
import type { Did, Doing } from "./orders.ts";
import { exists, filesBelow, logLines, MIRROR, sha256 } from "./root.ts";

const clock = { now: () => Date.now(), sleep: () => Promise.reject(new Error("the check never waits")) };

/** The sha256 of the first `size` bytes of a file; undefined when it has fewer. */
function prefixHash(path: string, size: number): string | undefined {
  if (!exists(path) || statSync(path).size < size) return undefined;
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(size);
    readSync(file, bytes, 0, size, 0);
    return createHash("sha256").update(bytes).digest("hex");
  } finally {
    closeSync(file);
  }
}

export interface Expected {
  /** Saves whose acceptance was told. */
  readonly accepted: readonly Did[];
  /** Announced, and not told of any more: each is there wholly or not at all. */
  readonly unsure?: readonly Doing[];
  /** Keys that others write too: they may have `external` versions. */
  readonly foreign?: (key: string) => boolean;
  /** Which saves there were is judged by the caller. */
  readonly anything?: boolean;
  /** No target is looked at. */
  readonly noMirror?: boolean;
}

export interface Examined {
  /** One sentence for each promise that was broken. */
  readonly problems: readonly string[];
  readonly versions: readonly Version[];
  /** What each key holds now. */
  readonly current: ReadonlyMap<string, string>;
}

/** Opens the root as any later process would, sweeps, mirrors what waits, closes it, and compares everything. */
export async function examine(root: string, expected: Expected): Promise<Examined> {
  const problems: string[] = [];
  const memory = await openMemory({ root, retryBaseMs: 1 });
  try {
    const { refused } = await memory.sweep();
    problems.push(...refused.map(({ path, error }) => `sweep refused ${path}: ${error.message}`));
    if (expected.noMirror !== true) {
      const { pending, failed } = await memory.flush();
      const { conflicts } = await memory.status();
      if (pending + failed + conflicts > 0)
        problems.push(`after flush: ${pending} pending, ${failed} failed, ${conflicts} conflicts`);
    }
  } finally {
    await memory.close();
  }
  problems.push(
    ...memory.notices.filter((notice) => !/^\d+ unfinished save|torn end/.test(notice)).map((notice) => `notice: ${notice}`),
  );
  const state = await openState(memory.config.stateDir, clock);
  try {
    const versions: Version[] = [];
    for await (const version of state.saves.versions()) versions.push(version);
    const heads = new Map<string, { base: string; size: number; sha256: string }>();
    for await (const head of state.saves.heads()) heads.set(head.key, head);
    const archives = new Map<string, { sha256: string; version: string }>();
    for await (const copy of state.saves.archiveCopies()) archives.set(copy.key, copy);
    if ((await state.saves.intents()).length > 0) problems.push("an intent was left behind");

    if (expected.anything !== true) problems.push(...acceptedOnce(versions, expected));
    problems.push(...contentKept(root, memory.config.stateDir, versions, heads));
    problems.push(...treeAsKnown(root, heads, archives));
    problems.push(...(await logsWhole(root, versions)));
    if (expected.noMirror !== true) problems.push(...mirrored(root, heads, archives, versions));
    return { problems, versions, current: new Map([...heads].map(([key, head]) => [key, head.sha256])) };
  } finally {
    await state.close();
  }
}

function acceptedOnce(versions: readonly Version[], { accepted, unsure = [], foreign = () => false }: Expected): string[] {
  const problems: string[] = [];
  const left = new Map(versions.map((version) => [version.version, version]));
  if (left.size !== versions.length) problems.push("a version is there twice");
  for (const did of accepted) {
    const version = left.get(did.version);
    left.delete(did.version);
    if (!version) problems.push(`the accepted ${did.did} of ${did.file} (${did.version}) is gone`);
    else if (
      version.file !== did.file ||
      version.sha256 !== did.sha256 ||
      version.size !== did.size ||
      version.archived_as !== did.archived_as
    )
      problems.push(`the accepted ${did.did} of ${did.file} is now ${JSON.stringify(version)}`);
  }
  const open = [...unsure];
  for (const version of left.values()) {
    const at = open.findIndex(
      (doing) =>
        doing.file === version.file &&
        doing.sha256 === version.sha256 &&
        (doing.op === version.op || (version.op === "external" && doing.doing.startsWith("saved"))),
    );
    if (at >= 0) open.splice(at, 1);
    else if (version.op !== "external" || !foreign(version.file))
      problems.push(`nobody asked for ${version.op} of ${version.file} (${version.size} bytes, ${version.version})`);
  }
  return problems;
}

/** A version's bytes are the beginning of what took its content over: an archive copy, or the head. */
function contentKept(
  root: string,
  stateDir: string,
  versions: readonly Version[],
  heads: ReadonlyMap<string, { base: string; size: number; sha256: string }>,
): string[] {
  const problems: string[] = [];
  const kept = createHeads(join(stateDir, "heads"));
  const growing = new Map<string, Version[]>();
  const settle = (key: string, holder: string) => {
    for (const { size, sha256: hash, version } of growing.get(key) ?? [])
      if (prefixHash(holder, size ?? 0) !== hash)
        problems.push(`version ${version} of ${key} (${size} bytes) is not in ${holder}`);
    growing.delete(key);
  };
  for (const version of versions) {
    if (version.archived_as !== null) settle(version.file, join(root, "Data", version.archived_as));
    if (version.sha256 !== null) growing.set(version.file, [...(growing.get(version.file) ?? []), version]);
  }
  for (const key of growing.keys()) {
    const head = heads.get(key);
    if (head) settle(key, kept.path(head.base));
    else problems.push(`${key} has versions and no head`);
  }
  return problems;
}

function treeAsKnown(
  root: string,
  heads: ReadonlyMap<string, { sha256: string }>,
  archives: ReadonlyMap<string, { sha256: string }>,
): string[] {
  const problems: string[] = [];
  const found = new Set(filesBelow(join(root, "Data")));
  for (const [key, { sha256: hash }] of [...heads, ...archives]) {
    if (!found.delete(key)) problems.push(`${key} is not in the tree`);
    else if (sha256(readFileSync(join(root, "Data", key))) !== hash) problems.push(`${key} does not hold what was accepted last`);
  }
  for (const stray of found) problems.push(`${stray} was left in the tree`);
  return problems;
}

async function logsWhole(root: string, versions: readonly Version[]): Promise<string[]> {
  if (versions.length === 0) return [];
  const problems: string[] = [];
  const changes = logLines(root, "memory_changelog");
  const { broken, verified } = await verifyChain(changes, versions.at(-1));
  if (broken || verified !== versions.length || changes.length !== versions.length)
    problems.push(`the changelog has ${changes.length} lines for ${versions.length} versions: ${JSON.stringify(broken)}`);
  const due = versions
    .filter(({ archived_as }) => archived_as !== null)
    .map(({ version, archived_as }) => `${version} ${archived_as}`);
  const told =
    due.length === 0
      ? []
      : logLines(root, "archive_log").map((line) => `${String(line["version"])} ${String(line["archived_as"])}`);
  if (due.join("\n") !== told.join("\n"))
    problems.push(`the archive log has ${told.length} lines for ${due.length} copies, or in another order`);
  return problems;
}

const helper = /(^|\/)\.[^/]*\.aftersave-(tmp|old)$/;

function mirrored(
  root: string,
  heads: ReadonlyMap<string, { sha256: string }>,
  archives: ReadonlyMap<string, { sha256: string }>,
  versions: readonly Version[],
): string[] {
  const problems: string[] = [];
  const there = new Set(filesBelow(join(root, MIRROR)).filter((name) => !helper.test(name)));
  const uploads = there.size === 0 ? [] : logLines(root, "upload_log");
  const told = new Set(
    uploads
      .filter(({ status }) => status === "success" || status === "skipped")
      .map((line) => `${line.file} ${String(line["sha256"])}`),
  );
  for (const [key, { sha256: hash }] of [...heads, ...archives]) {
    if (!there.has(key)) problems.push(`${key} is not mirrored`);
    else if (sha256(readFileSync(join(root, MIRROR, key))) !== hash) problems.push(`the mirrored ${key} holds other bytes`);
    if (!told.has(`${key} ${hash}`)) problems.push(`the upload log does not tell of ${key}`);
  }
  const known = new Set<Key | string>([...versions.map(({ file }) => file), ...archives.keys()]);
  for (const name of there)
    if (!known.has(name) && !name.startsWith(".aftersave/")) problems.push(`${name} is mirrored and was never a memory file`);
  return problems;
}
