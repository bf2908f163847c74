/**
 * What a changelog file that is not as we left it has to do with us: our own write that a crash or a power cut broke off, or
 * somebody else. Looks only.
 * @module
 */
import type { FileHandle } from "node:fs/promises";
import { changelogLine, type Version } from "../core/version.ts";
import { openLog, standing } from "../logs/files.ts";
import { readLog, type BadLine } from "../logs/read.ts";
import { rotatedFiles } from "../logs/rotated.ts";
import type { Noticed } from "../state/evidence.ts";
import type { Line, Mark } from "../state/outbox.ts";
import type { Saves } from "../state/saves.ts";

interface Looked {
  readonly path: string;
  readonly mark: Mark;
  /** Lines behind the safe end, in order, those that no one wrote yet too. */
  readonly expected: readonly Line[];
  /** This process saw the file as the mark says: no power cut can have come between. */
  readonly sure: boolean;
  readonly saves: Saves;
}

/** What somebody else did to the file; undefined when a crash or a power cut explains how it stands. */
export async function foulPlay(looked: Looked): Promise<Omit<Noticed, "at"> | undefined> {
  const { path } = looked;
  const file = await openLog(path, "r");
  try {
    if (await isOurs(file, looked)) return undefined;
  } finally {
    await file?.close();
  }
  const found = await firstWrong(looked);
  return file ? { path, lines: null, ...found } : { path, lines: null, ...found, what: "removed", line: null };
}

/** Behind its safe end the file, or the one that it was turned over to and the new one, may break off, and may hold NUL bytes where a power cut took what was not on the disk. */
async function isOurs(file: FileHandle | undefined, { path, mark, expected, sure }: Looked): Promise<boolean> {
  const text = Buffer.from(expected.map(({ line }) => `${line}\n`).join(""), "utf8");
  const { size, ino } = await standing(file);
  const turned = ino === mark.ino ? undefined : await openRotated(path, mark.ino);
  try {
    if (!file && !turned) return false; // turned over, and not begun anew yet, it may be absent
    if ((turned ? (await standing(turned)).size : size) < mark.safe_size) return false;
    const most = text.length + 1;
    const there = turned
      ? Buffer.concat([await bytesFrom(turned, mark.safe_size, most), await bytesFrom(file, 0, most)])
      : await bytesFrom(file, mark.safe_size, most);
    if (there.length > text.length) return false;
    const must = sure ? mark.size - mark.safe_size : 0;
    return there.length >= must && there.every((byte, at) => byte === text[at] || (byte === 0 && !sure));
  } finally {
    await turned?.close();
  }
}

/** The newest rotated file, if it is the one that the mark means. */
async function openRotated(path: string, ino: string): Promise<FileHandle | undefined> {
  const newest = (await rotatedFiles(path)).at(-1);
  const file = newest === undefined ? undefined : await openLog(newest, "r");
  if (!file || (await standing(file)).ino === ino) return file;
  await file.close();
  return undefined;
}

async function bytesFrom(file: FileHandle | undefined, from: number, most: number): Promise<Buffer> {
  if (!file) return Buffer.alloc(0);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(most), 0, most, from);
  return buffer.subarray(0, bytesRead);
}

/** Where the file begins to differ from the history. */
async function firstWrong({ path, mark, expected, saves }: Looked): Promise<Pick<Noticed, "what" | "line" | "place">> {
  const [waiting] = expected.filter(({ seq }) => seq > mark.seq);
  const unwritten = waiting ? (JSON.parse(waiting.line) as { place: number }).place : Number.POSITIVE_INFINITY;
  const versions = saves.versions()[Symbol.asyncIterator]();
  let begun = false;
  const next = async () => (await versions.next()).value as Version | undefined;
  let due = await next();
  const wrongAt = (line: number) =>
    due && due.place < unwritten
      ? { what: "altered" as const, line, place: due.place }
      : { what: "added" as const, line, place: null };
  let bad: BadLine | undefined;
  let blank: BadLine | undefined;
  const onBad = (one: BadLine) => {
    if (!begun) return;
    if (one.why === "blank") blank ??= one;
    else bad ??= one;
  };
  for await (const { line, value, text } of readLog(path, { withRotated: true, withText: true, onBad })) {
    if (bad) break;
    begun ||= "place" in value;
    if (!begun) continue; // the original's lines, which we continue
    if (!due || text !== changelogLine(due)) return wrongAt(line);
    due = await next();
  }
  if (bad && bad.why !== "torn") return wrongAt(bad.line);
  return due && due.place < unwritten
    ? { what: "cut", line: null, place: due.place }
    : { what: "added", line: (bad ?? blank)?.line ?? null, place: null };
}
