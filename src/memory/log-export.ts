/**
 * Log lines from the outbox to the files, in order, once each, whoever dies in between. The claim keeps our processes
 * apart; the marks say what a file must look like, and a file that looks otherwise is compared line by line.
 * @module
 */
import { open, rename, rm } from "node:fs/promises";
import { dirname, relative, resolve, sep } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError, asAftersaveError } from "../core/errors.ts";
import { changelogLine } from "../core/version.ts";
import { adopt } from "../logs/adopt.ts";
import { appendLines, LogSizeError } from "../logs/append.ts";
import { moveAside, counted, standing, openLog, fsyncFolder, LOG_MODE, type Standing } from "../logs/files.ts";
import { tailLog } from "../logs/read.ts";
import { filesOfLog, rewriteLines } from "../logs/redact.ts";
import { reconcile } from "../logs/repair.ts";
import { rotateIfNeeded } from "../logs/rotate.ts";
import { rotatedFiles } from "../logs/rotated.ts";
import type { Claims } from "../state/claims.ts";
import type { Evidence, EvidenceBook } from "../state/evidence.ts";
import { LOGS, type Line, type LogName, type Mark, type Outbox } from "../state/outbox.ts";
import type { Saves } from "../state/saves.ts";
import { foulPlay } from "./log-evidence.ts";

/** Lines are exported in batches: one lock and one write for all of them. */
const BATCH = 500;
/** Unsynced bytes after which a log is synced; until then the outbox keeps its lines. */
const UNSAFE = 64 * 1024;

export interface LogExportParts {
  readonly outbox: Outbox;
  readonly saves: Saves;
  readonly claims: Claims;
  readonly evidence: EvidenceBook;
  readonly clock: Clock;
  /** The memory root. */
  readonly root: string;
  readonly paths: Readonly<Record<LogName, string>>;
  /** Bytes at which a log is rotated; null: never. */
  readonly rotate: number | null;
  readonly keep: number | null;
}

/** Something that a person should know of a log; nothing was lost. */
export interface LogNotice {
  readonly log: LogName;
  readonly message: string;
}

/** The line as it is to stand there; an empty one is left out. */
export type ChangeLine = (log: LogName, line: string) => string;

export interface LogExport {
  /** Says that lines may wait. They are written soon, many at once; nobody waits for it. */
  wake(): void;
  /** All lines that wait now are in the files when it resolves; with `sync` also on the disk, of all logs or of one. Throws the first fault after trying every log. */
  drain(options?: { sync?: boolean | LogName }): Promise<void>;
  /** The changelog anew from the state, as one file; what was there, rotated files too, is moved beside. */
  rewrite(): Promise<void>;
  /**
   * Every line of the logs as `change` makes it: what waits, what is written, rotated files, and what was set aside beside them.
   * Answers how many files changed. Can be cut off and done again.
   */
  redact(change: ChangeLine): Promise<number>;
  /** What happened to the logs since the memory was opened: set aside, repaired, refused. */
  readonly notices: readonly LogNotice[];
  /** The last fault of a log; null when the last export went well. */
  fault(): AftersaveError | null;
}

const did: Readonly<Record<Evidence["what"], string>> = {
  removed: "was removed",
  cut: "was cut",
  altered: "was altered",
  added: "holds something that is not ours",
  unknown: "",
  regained: "",
};

export function createLogExport(parts: LogExportParts): LogExport {
  const { outbox, saves, claims, evidence, clock, root, paths, rotate, keep } = parts;
  const notices: LogNotice[] = [];
  const trusted = new Set<LogName>();
  let lastFault: AftersaveError | null = null;
  let running: Promise<void> | undefined;
  let again = false;

  const notice = (log: LogName, message: string) => notices.push({ log, message });

  /** As marks name a file: relative to the memory root, which may be moved or copied as a whole. */
  const named = (path: string) => {
    const way = relative(root, path);
    return way.startsWith("..") ? path : way.split(sep).join("/");
  };

  const stands = async (path: string): Promise<Standing> => {
    const file = await openLog(path, "r");
    try {
      return await standing(file);
    } finally {
      await file?.close();
    }
  };

  /** First use of this file: what was there before us is continued or moved beside, and where it ends is remembered. */
  const begin = async (log: LogName, mark: Mark | undefined): Promise<Mark> => {
    const path = paths[log];
    const { found, moved } = await adopt(path);
    if (moved)
      notice(
        log,
        `${path} held ${found === "scaffold" ? "an empty scaffold" : "something that is not JSON Lines"}; it was moved to ${moved}`,
      );
    await appendLines(path, []);
    if (mark) await sync(resolve(root, mark.path));
    const seq = mark ? await written(log, mark, await stands(path)) : 0;
    const begun = { path: named(path), ...(await stands(path)), seq };
    await secure(log, begun); // a crash from here on must not count what was there before us as someone else's
    return { ...begun, safe_size: begun.size, safe_seq: seq };
  };

  /** Another name in paths.json: the changelog is exported anew, the other logs go on there. */
  const written = async (log: LogName, mark: Mark, now: Standing): Promise<number> => {
    if (log !== "changes") return mark.seq;
    return (await rebuildChangelog(now)).seq;
  };

  /** The newest line that waits and the place of its version; without one, everything that was accepted is exported. */
  const newest = async (): Promise<{ seq: number; place: number }> => {
    const last = await saves.last(); // before the outbox: what is accepted in between waits there
    const seq = await outbox.last("changes");
    const [waiting] = seq === 0 ? [] : await outbox.after("changes", seq - 1, 1);
    const place = waiting ? (JSON.parse(waiting.line) as { place: number }).place : (last?.place ?? 0);
    return { seq, place };
  };

  /**
   * Writes every version that is not in a rotated file to the changelog, in place of what is there. Answers the line
   * up to which it has them; what is accepted meanwhile waits behind it. And where what was there is now.
   */
  const rebuildChangelog = async (now: Standing): Promise<{ seq: number; aside: string | null }> => {
    const path = paths.changes;
    const until = await newest();
    let from = 0;
    for (const rotated of (await rotatedFiles(path)).toReversed()) {
      const [last] = await tailLog(rotated, 1); // none where a rotation was killed as it had taken the name
      if (last === undefined) continue;
      if (typeof last.value["place"] === "number") from = last.value["place"];
      break;
    }
    const temporary = `${path}.rebuild`;
    await rm(temporary, { force: true });
    const file = await open(temporary, "wx", LOG_MODE);
    try {
      let lines: string[] = [];
      const flush = async () => {
        if (lines.length > 0) await file.writeFile(`${lines.join("\n")}\n`);
        lines = [];
      };
      for await (const version of saves.versions(from)) {
        if (version.place > until.place) break;
        lines.push(changelogLine(version));
        if (lines.length >= BATCH) await flush();
      }
      await flush();
      await file.sync();
    } finally {
      await file.close();
    }
    let aside: string | null = null;
    if (now.size > 0) {
      aside = await moveAside(path, counted(`${path}.before-aftersave`));
      notice("changes", `${path} was not the changelog that the state knows; it was moved to ${aside} and written anew`);
    }
    await rename(temporary, path);
    await fsyncFolder(dirname(path));
    return { seq: until.seq, aside };
  };

  /** The same, with the mark that belongs to it. */
  const renewChangelog = async (was: Standing, found?: number): Promise<Mark> => {
    await outbox.voidMark("changes"); // killed from here on, it is begun again: that the file is gone is our own doing
    const { seq, aside } = await rebuildChangelog(was);
    if (found !== undefined && aside !== null) await evidence.setAside(found, aside);
    const mark = { path: named(paths.changes), ...(await stands(paths.changes)), seq };
    await outbox.setSafe("changes", mark);
    return { ...mark, safe_size: mark.size, safe_seq: seq };
  };

  /** The file is not as we left it: a crash, a power cut, or another program. */
  const mend = async (log: LogName, mark: Mark, { sure }: { sure: boolean }): Promise<Mark> => {
    const path = paths[log];
    const expected = await outbox.after(log, mark.safe_seq, 1_000_000);
    const foul = log === "changes" ? await foulPlay({ path, mark, expected, sure, saves }) : undefined;
    const noted = foul && (await evidence.note({ ...foul, at: new Date(clock.now()).toISOString() }));
    const found = await reconcile(path, {
      fromOffset: mark.safe_size,
      ino: mark.ino,
      expected: expected.map(({ line }) => line),
    });
    if (found.torn.moved && noted !== undefined) await evidence.setAside(noted, found.torn.moved);
    if (found.torn.moved) notice(log, `a torn end of ${path} (${found.torn.bytes} bytes) was set aside in ${found.torn.moved}`);
    if (log === "changes" && found.foreign > 0) throw foreign(path, found.foreign);
    if (foul)
      notice(log, `${path} ${did[foul.what]}; nothing is lost. \`aftersave verify\` says more, until \`aftersave doctor --fix\``);
    if (log === "changes" && found.short > 0 && found.rotated === null)
      return renewChangelog({ size: found.size, ino: found.ino }, noted);
    const absent = expected.filter((_, index) => found.present[index] !== true);
    // lines that no one wrote yet stay for the export; lines that were written and are gone are written again, in order
    const firstAbsent = absent[0];
    const present = expected.filter(({ seq }) => firstAbsent === undefined || seq < firstAbsent.seq);
    const stray = expected.some(
      ({ seq }, index) => found.present[index] === true && firstAbsent !== undefined && seq > firstAbsent.seq,
    );
    let now: Standing = found.ino === "" ? await appendLines(path, []) : found; // it was removed: begin a new file
    let seq = present.at(-1)?.seq ?? mark.safe_seq;
    if (stray) {
      now = await appendLines(
        path,
        absent.map(({ line }) => line),
      ); // another program's line keeps later ones of ours in place
      seq = expected.at(-1)?.seq ?? seq;
    }
    const mended = { path: named(path), ino: now.ino, size: now.size, seq };
    await outbox.setMark(log, mended);
    return { ...mended, safe_size: Math.min(mark.safe_size, now.size), safe_seq: mark.safe_seq };
  };

  /** After an unclean end the unsynced part of a file may be missing or not what was written. */
  const distrust = async (log: LogName, mark: Mark): Promise<Mark> => {
    if (trusted.has(log)) return mark;
    trusted.add(log);
    const now = await stands(paths[log]);
    if (now.ino !== mark.ino || now.size !== mark.size) return mend(log, mark, { sure: false });
    if (mark.size === mark.safe_size) return mark;
    const expected = (await outbox.after(log, mark.safe_seq, 1_000_000)).filter(({ seq }) => seq <= mark.seq);
    const text = Buffer.from(expected.map(({ line }) => `${line}\n`).join(""), "utf8");
    const file = await openLog(paths[log], "r");
    try {
      const there = Buffer.alloc(mark.size - mark.safe_size);
      await file?.read(there, 0, there.length, mark.safe_size);
      return there.equals(text) ? mark : await mend(log, mark, { sure: false });
    } finally {
      await file?.close();
    }
  };

  const sync = async (path: string) => {
    const file = await openLog(path, "r+");
    try {
      await file?.datasync();
    } finally {
      await file?.close();
    }
  };

  const append = async (log: LogName, mark: Mark, waiting: readonly Line[]): Promise<Mark> => {
    let lines = waiting;
    const write = (to: Mark) =>
      appendLines(
        paths[log],
        lines.filter(({ seq }) => seq > to.seq).map(({ line }) => line),
        { expectedSize: to.size, expectedIno: to.ino },
      );
    let from = mark;
    let now: Standing;
    try {
      now = await write(from);
    } catch (error) {
      if (!(error instanceof LogSizeError)) throw error;
      from = await mend(log, mark, { sure: true });
      lines = await outbox.after(log, from.seq, BATCH); // more of them than before, where written ones are gone
      now = await write(from);
    }
    const seq = Math.max(lines.at(-1)?.seq ?? 0, from.seq);
    const next = { path: named(paths[log]), ino: now.ino, size: now.size, seq };
    await outbox.setMark(log, next);
    return { ...next, safe_size: from.safe_size, safe_seq: from.safe_seq };
  };

  const secure = async (log: LogName, mark: Omit<Mark, "safe_size" | "safe_seq">) => {
    await sync(paths[log]);
    await outbox.setSafe(log, mark);
  };

  const exportLog = async (log: LogName, syncAll: boolean): Promise<void> => {
    const known = await outbox.mark(log);
    const current = known?.path === named(paths[log]) ? known : undefined;
    const waits = (await outbox.after(log, current?.seq ?? 0, 1)).length > 0;
    const unsafe = current !== undefined && current.size !== current.safe_size;
    const halfMade = log === "changes" && current?.ino === "";
    if (!waits && !halfMade && !(unsafe && (syncAll || !trusted.has(log)))) return; // what was not synced may be gone since
    let mark = halfMade
      ? await renewChangelog(await stands(paths[log]))
      : current
        ? await distrust(log, current)
        : await begin(log, known);
    for (;;) {
      const lines = await outbox.after(log, mark.seq, BATCH);
      if (lines.length === 0) break;
      mark = await append(log, mark, lines);
      if (mark.size - mark.safe_size > UNSAFE) {
        await secure(log, mark);
        mark = { ...mark, safe_size: mark.size, safe_seq: mark.seq };
      }
      if (rotate !== null && mark.size >= rotate) mark = await turn(log, mark);
    }
    if (syncAll && mark.size !== mark.safe_size) await secure(log, mark);
  };

  const turn = async (log: LogName, mark: Mark): Promise<Mark> => {
    await secure(log, mark);
    const options = { bytes: rotate ?? 0, now: new Date(clock.now()), ...(log === "changes" || keep === null ? {} : { keep }) };
    await rotateIfNeeded(paths[log], options);
    await appendLines(paths[log], []);
    const next = { path: named(paths[log]), ...(await stands(paths[log])), seq: mark.seq };
    await outbox.setSafe(log, next);
    return { ...next, safe_size: next.size, safe_seq: next.seq };
  };

  const exportAll = async (synced: boolean | LogName): Promise<void> => {
    const release = await claims.take("logs", "logs");
    const faults: unknown[] = [];
    try {
      for (const log of LOGS)
        await exportLog(log, synced === true || synced === log).catch((error: unknown) => faults.push(error));
    } finally {
      release();
    }
    lastFault = faults.length === 0 ? null : asAftersaveError(faults[0], "writing the logs");
    if (lastFault) throw lastFault;
  };

  const loop = async (): Promise<void> => {
    try {
      do {
        again = false;
        await exportAll(false);
      } while (again);
    } finally {
      running = undefined;
    }
  };

  return {
    notices,
    fault: () => lastFault,
    wake() {
      again = true;
      running ??= new Promise<void>((resolve) => setImmediate(resolve)).then(loop);
      running.catch(() => undefined); // kept in `lastFault`; `drain` and `doctor` tell it
    },
    async rewrite() {
      const release = await claims.take("logs", "logs");
      try {
        for (const path of await rotatedFiles(paths.changes)) await moveAside(path, counted(`${path}.before-aftersave`));
        await adopt(paths.changes);
        await renewChangelog(await stands(paths.changes));
      } finally {
        release();
      }
    },
    async redact(change) {
      const release = await claims.take("logs", "logs", { waitMs: 600_000 });
      try {
        let changed = 0;
        for (const log of LOGS) {
          await exportLog(log, true);
          const mark = await outbox.mark(log);
          await outbox.dropMark(log); // a crash from here on: the file is continued, whatever its size is by then
          const { own, others } = await filesOfLog(paths[log]);
          for (const path of [...others, own]) if (await rewriteLines(path, (line) => change(log, line))) changed++;
          if (mark) await outbox.setSafe(log, { ...mark, ...(await stands(paths[log])) });
        }
        await outbox.rewrite(change);
        return changed;
      } finally {
        release();
      }
    },
    async drain({ sync = false } = {}) {
      await running?.catch(() => undefined);
      await exportAll(sync);
    },
  };
}

const foreign = (path: string, lines: number) =>
  new AftersaveError(
    "E_LOG_FOREIGN",
    `another program writes ${path}: ${lines === 1 ? "a line there is" : `${lines} lines there are`} not ours`,
    {
      hint: "Give aftersave a changelog of its own: set memory_changelog in paths.json to another name. It is then written there in full.",
    },
  );
