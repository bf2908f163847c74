/**
 * The proof that a target alone is enough: the tree is rebuilt from it in a scratch folder and compared byte for byte.
 * @module
 */
import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError } from "../core/errors.ts";
import type { ArchiveFolder } from "../core/key.ts";
import { sameBytes } from "../memory/content.ts";
import { inFolder, makeFolder } from "../memory/durable.ts";
import type { Heads } from "../memory/heads.ts";
import type { Places } from "../memory/places.ts";
import { sha256Of } from "../mirror/place.ts";
import type { ProvenRestore } from "../state/ledger.ts";
import { inParallel } from "./fetch.ts";
import { expectedOf, fetchContent, lookAtTarget, type Found } from "./from-target.ts";
import type { Holding } from "./holdings.ts";
import { findingOf, type VerifyFinding } from "./verify-local.ts";
import type { TargetParts } from "./verify-target.ts";

export interface ScratchParts extends TargetParts {
  readonly heads: Heads;
  readonly places: Places;
  readonly archive: ArchiveFolder;
  readonly stateDir: string;
  readonly clock: Clock;
}

export interface ScratchReport extends ProvenRestore {
  /** Everything that the target should hold came back, byte for byte. */
  readonly proven: boolean;
  /** What it does not hold for a reason: it waits to be sent, is held, covered, routed elsewhere, was pruned there, or another writer's version is in its place. */
  readonly excused: number;
  readonly findings: readonly VerifyFinding[];
}

/** More than is needed: folders, and what others write meanwhile. */
const SPARE = 16 << 20;

async function assertRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free >= bytes + SPARE) return;
  throw new AftersaveError(
    "E_NO_SPACE",
    `rebuilding the tree in ${folder} takes ${Math.ceil(bytes / (1 << 20))} MiB, and ${Math.floor(free / (1 << 20))} MiB are free`,
    { hint: "Free some space there, or verify without --restore; `--download` reads every byte and stores none." },
  );
}

/** Rebuilds, compares, removes. Throws `E_NO_SPACE`, `E_HISTORY`, and what the target throws. */
export async function proveRestore(parts: ScratchParts): Promise<ScratchReport> {
  const { state, to, clock, stateDir, archive, call } = parts;
  const scratch = join(stateDir, "scratch");
  const release = await state.claims.take("verify", "scratch", { waitMs: 600_000, signal: call.signal });
  try {
    await rm(scratch, { recursive: true, force: true }); // a run that was killed
    await makeFolder(scratch, 0o700);
    const began = clock.now();
    const { id } = await state.segments.writer();
    const found = await lookAtTarget(to, archive, await state.saves.rootId(), call, id);
    const expected = expectedOf(found);
    await assertRoom(
      stateDir,
      expected.reduce((sum, { holding }) => sum + holding.size, 0),
    );
    const findings: VerifyFinding[] = [];
    let [files, bytes, excused] = [0, 0, 0];
    const add = (found: VerifyFinding | undefined) => {
      if (found) findings.push(found);
      else excused++;
    };
    await inParallel(expected, to.concurrency, async ({ holding, copy }) => {
      const { key, size } = holding;
      const path = inFolder(scratch, key);
      const came = await fetchContent(found, key, holding, path, archive);
      if ("why" in came) add(await judge(parts, holding));
      else if (!(await isSame(parts, holding, copy, path))) add(differs(parts, holding));
      else {
        files++;
        bytes += size;
      }
    });
    const ms = clock.now() - began;
    for (const gap of gapsIn(found)) findings.push(gap);
    const proven = findings.length === 0 && files > 0;
    if (proven) await state.ledger.setProven(to.name, clock.now(), { files, bytes, ms });
    return { proven, files, bytes, ms, excused, findings };
  } finally {
    await rm(scratch, { recursive: true, force: true });
    release();
  }
}

/** What did not come: undefined when the target is not said to hold it in that content. */
async function judge(parts: ScratchParts, { key, sha256, version }: Holding): Promise<VerifyFinding | undefined> {
  const { state, to, call } = parts;
  const row = await state.ledger.mirrored(to.name, key);
  if (row?.sha256 !== sha256) return undefined;
  const there = await to.target.stat(key, { ...call, hash: true });
  if (there && (await parts.whose(key, await sha256Of(to.target, there, call))) !== undefined) return undefined;
  return findingOf({
    target: to.name,
    file: key,
    version,
    path: to.target.pathOf(key),
    code: there ? "E_TARGET_CORRUPT" : "E_TARGET_ABSENT",
    what: `${key} does not come back from ${to.name}`,
    why: there ? "What is there is not what was sent." : "It is gone from there.",
    next: "Run `aftersave doctor --fix`, then `aftersave flush`: it is sent again.",
  });
}

/** Against the bytes that are kept here; where the key has moved on meanwhile, the hash that was checked on the way must do. */
async function isSame({ state, heads, places }: ScratchParts, holding: Holding, copy: boolean, path: string): Promise<boolean> {
  const { key, sha256, size, version } = holding;
  const same = async (here: string) => sameBytes(path, 0, size, here, 0).catch(() => false); // gone or unreadable here: the other checks tell
  if (copy) {
    const known = await state.saves.archiveCopy(key);
    if (known?.sha256 !== sha256) return false;
    return known.pruned || (await same(places.pathOf(key))) || (await state.saves.archiveCopy(key))?.pruned === true;
  }
  const head = await state.saves.head(key);
  if (head?.version === version && (await same(heads.path(head.base)))) return true;
  if ((await state.saves.head(key))?.version === version) return false;
  return (await state.saves.version(version))?.sha256 === sha256;
}

const differs = ({ to }: ScratchParts, { key, version }: Holding): VerifyFinding =>
  findingOf({
    target: to.name,
    file: key,
    version,
    code: "E_TARGET_CORRUPT",
    what: `${key} comes back from ${to.name} with other bytes than are kept here`,
    why: "One of the two is damaged, or their histories differ.",
    next: "See what else `aftersave verify` says of this file.",
  });

/** A history with holes brings back less than there was. */
function gapsIn({ told, to }: Found): VerifyFinding[] {
  return told.gaps.map(({ first, last }) =>
    findingOf({
      target: to.name,
      place: first,
      code: "E_HISTORY",
      what: `${to.name} does not tell lines ${first} to ${last} of the history`,
      why: "Segments there were removed or damaged.",
      next: "Run `aftersave doctor --fix`, then `aftersave flush`: the history is told there again.",
    }),
  );
}
