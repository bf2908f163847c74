/**
 * Memory roots whose target is an emulated Drive, and what must hold there whatever went wrong on the way.
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Memory } from "../../src/open.ts";
import { type DriveEmulator, rateLimit, type TreeItem } from "../../src/testing/drive-emulator.ts";
import { filesBelow, logLines, makeRoot, sha256 } from "./root.ts";

/** The target's name in `makeDriveRoot`. */
const TARGET = "drive";
const TOP = "MemoryVDB/";

/** A memory root that is signed in to an emulated Drive; `target` are more keys of its target. */
export function makeDriveRoot(
  drive: Pick<DriveEmulator, "rootUrl" | "tokenUrl" | "authorizedUser">,
  target: Readonly<Record<string, unknown>> = {},
): string {
  const { rootUrl: root_url, tokenUrl: token_url } = drive;
  const gdrive = { type: "gdrive", enabled: true, root_url, token_url, writes_per_second: "off", ...target };
  const root = makeRoot({ targets: { [TARGET]: gdrive } });
  writeFileSync(join(root, "drive_token.json"), JSON.stringify(drive.authorizedUser()), { mode: 0o600 });
  return root;
}

/** 5 % of the writes done and not answered, 5 % of all requests refused as too many (in both spellings), 2 % failing before or after. */
export function addFaults({ faults }: Pick<DriveEmulator, "faults">): void {
  faults.add({ when: { kind: "write", probability: 0.05 }, do: { kind: "reply-lost" } });
  faults.add({ when: { probability: 0.025 }, do: rateLimit({ spelling: "reason" }) });
  faults.add({ when: { probability: 0.025 }, do: rateLimit({ spelling: "errorInfo", status: 429 }) });
  faults.add({ when: { probability: 0.01 }, do: { kind: "5xx-before" } });
  faults.add({ when: { kind: "write", probability: 0.01 }, do: { kind: "5xx-after-commit" } });
}

/** Flushes until nothing is left; a job may fail in as many rounds as it likes, but not for ever. */
export async function flushAll(memory: Memory, most = 30): Promise<void> {
  for (let round = 1; ; round++) {
    const { pending } = await memory.flush();
    if (pending === 0) return;
    if (round === most) throw new Error(`${pending} uploads are left after ${most} rounds`);
  }
}

/** What a memory root's tree holds, each key with the hash of its bytes. */
export const held = (root: string): Map<string, string> =>
  new Map(filesBelow(join(root, "Data")).map((key) => [key, sha256(readFileSync(join(root, "Data", key)))]));

/** What of it is on the Drive otherwise than once, with the right hash, in folders that exist once. */
export function problemsOn(drive: Pick<DriveEmulator, "account">, expected: ReadonlyMap<string, string>): string[] {
  const problems: string[] = [];
  const there = new Map<string, TreeItem>();
  for (const item of drive.account.tree()) {
    if (item.trashed) continue;
    if (there.has(item.path)) problems.push(`${item.path} is there twice`);
    there.set(item.path, item);
    const key = item.path.slice(TOP.length);
    const isOwn = item.folder || key.startsWith(".aftersave/");
    if (!`${item.path}/`.startsWith(TOP) || (!isOwn && !expected.has(key))) problems.push(`${item.path} is nobody's`);
  }
  for (const [key, hash] of expected) {
    const file = there.get(`${TOP}${key}`);
    if (file?.sha256 !== hash) problems.push(`${key} ${file ? "holds other bytes" : "is missing"}`);
  }
  return problems;
}

/** What was made and thrown away: nothing, where one memory works alone. */
export const wasteOn = (drive: Pick<DriveEmulator, "account">): string[] =>
  drive.account
    .tree()
    .filter(({ trashed }) => trashed)
    .map(({ path }) => `${path} was made and put into the trash`);

/** What the upload log does not tell as it was: each key's last bytes as a success, as often as it happened. */
export function untold(root: string, successes: number | undefined, expected: ReadonlyMap<string, string>): string[] {
  const lines = logLines(root, "upload_log");
  const done = lines.filter(({ status }) => status === "success");
  const told = new Set(
    [...done, ...lines.filter(({ status }) => status === "skipped")].map((l) => `${l.file} ${String(l["sha256"])}`),
  );
  const problems = [...expected].filter(([key, hash]) => !told.has(`${key} ${hash}`)).map(([key]) => `no line tells of ${key}`);
  if (successes !== undefined && done.length !== successes)
    problems.push(`${done.length} lines of success for ${successes} uploads`);
  return problems;
}
