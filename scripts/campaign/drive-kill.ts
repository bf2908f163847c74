/**
 * `kill -9` while a process uploads to Drive: in creates, updates, pieces of a big file, folders and the renewal of a token.
 * @module
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { openMemory } from "../../src/open.ts";
import { startDriveEmulator } from "../../src/testing/drive-emulator.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { flushAll, held, makeDriveRoot, problemsOn, untold, wasteOn } from "./drive.ts";
import { type DriveOrders, startDriveChild } from "./drive-child.ts";
import { removeRoot } from "./root.ts";

/** What the process is doing when it dies, by the request that it then makes. */
export const moments = {
  create: "v2.files.insert",
  update: "v2.files.update",
  folder: "files.create",
  look: "files.list",
  session: "v2.files.insert",
  piece: "upload.chunk",
  token: "oauth.token",
} as const;
export type Moment = keyof typeof moments;

const MIB = 2 ** 20;

/** A file of `size` bytes that follow from `seed`. */
function bigFile(folder: string, size: number, seed: number): string {
  const path = join(folder, `${seed}.bin`);
  const line = Buffer.from(`${seed} ${seededRandom(seed)()}\n`);
  writeFileSync(path, Buffer.alloc(size, line));
  return path;
}

/** A memory root whose process is killed again and again, and its Drive. */
export async function createDriveVictim(program: string, seed: number) {
  // So that a death falls between what Drive does and what it answers, too.
  const drive = await startDriveEmulator({ seed, latencyMs: 4, lag: { nameMs: 3000 } });
  const root = makeDriveRoot(drive);
  const files = mkdtempSync(join(tmpdir(), "aftersave-files-"));
  const tokenFile = join(root, "drive_token.json");
  const signIn = () => (JSON.parse(readFileSync(tokenFile, "utf8")) as { refresh_token?: unknown }).refresh_token;
  const signedIn = signIn();
  let made = 0;

  const orders = (moment: Moment, random: () => number): DriveOrders["saves"] => {
    const small = (key: string) => ({
      op: random() < 0.5 ? ("append" as const) : ("replace" as const),
      key,
      text: `${random()}\n`,
    });
    const folder = moment === "folder" ? `New ${made++}/deep` : "Zone";
    const fresh = Array.from({ length: 3 }, () => small(`${folder}/new ${made++}.txt`));
    const known = ["Zone/a.txt", "Zone/b.md", "c.txt"].map(small);
    const isBig = moment === "session" || moment === "piece";
    const size = Math.floor((5.5 + random() * 16) * MIB);
    const big = {
      op: "replace" as const,
      key: `Big/${moment} ${random() < 0.5 ? 0 : made++}.bin`,
      file: bigFile(files, size, made++),
    };
    return isBig ? [big, ...known] : [...known, ...fresh];
  };

  return {
    /** Dies in that moment, and is started again. Answers what is broken then. */
    async at(moment: Moment, own: number): Promise<readonly string[]> {
      const random = seededRandom(own);
      const saves = orders(moment, random);
      if (moment === "token") drive.account.expireAccessTokens();
      drive.resetLedger();
      let met = 0;
      const nth = moment === "create" || moment === "update" ? 1 + Math.floor(random() * 3) : 1;
      const within = random() * (moment === "piece" ? 40 : 12);
      const child = startDriveChild(program, { root, saves, lingerMs: 100 });
      const forget = drive.faults.add({
        when: ({ api }) => {
          if (api === moments[moment] && ++met === nth) setTimeout(child.kill, within);
          return false;
        },
        do: { kind: "reply-lost" },
      });
      const { killed, output } = await child.ended;
      forget();
      const problems = killed ? [] : [`the process did not come to ${moment}, or failed by itself: ${output}`];
      if (signIn() !== signedIn) problems.push("the token file lost its sign-in");

      const memory = await openMemory({ root, retryBaseMs: 1 });
      await flushAll(memory);
      const { pending, failed, conflicts } = await memory.status();
      await memory.close();
      const expected = held(root);
      problems.push(...problemsOn(drive, expected), ...wasteOn(drive), ...untold(root, undefined, expected));
      if (pending + failed + conflicts > 0) problems.push(`${pending} pending, ${failed} failed, ${conflicts} conflicts`);
      return problems;
    },
    async remove() {
      await drive.close();
      rmSync(files, { recursive: true });
      removeRoot(root);
    },
  };
}

/** Bytes that it took, as a share of the file's, to upload `size` bytes when the process dies half-way and is started again. */
export async function resumedShare(
  program: string,
  size: number,
): Promise<{ readonly share: number; readonly problems: readonly string[] }> {
  const drive = await startDriveEmulator();
  const root = makeDriveRoot(drive);
  const files = mkdtempSync(join(tmpdir(), "aftersave-files-"));
  const sent = () => drive.requests.filter(({ kind }) => kind === "upload").reduce((sum, { bytesIn }) => sum + bytesIn, 0);
  try {
    const child = startDriveChild(program, {
      root,
      saves: [{ op: "replace", key: "Big/model.bin", file: bigFile(files, size, 1) }],
    });
    while (!child.isOver() && sent() < 0.53 * size) await turn(); // in the middle of a piece
    child.kill();
    const first = await child.ended;
    const again = await startDriveChild(program, { root, saves: [] }).ended;
    const problems = [...problemsOn(drive, held(root))];
    if (!first.killed) problems.push(`it was not killed half-way: ${first.output}`);
    if (again.code !== 0) problems.push(`the second run ended with ${again.code}: ${again.output}`);
    return { share: sent() / size, problems };
  } finally {
    await drive.close();
    rmSync(files, { recursive: true });
    removeRoot(root);
  }
}
