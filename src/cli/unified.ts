/**
 * Differences as people read them: unified, with words marked as git marks them, coloured only on a terminal.
 * @module
 */
import type { AsOf, ChangedFile, Diff, DiffSide, Hunk, Json, Part } from "../index.ts";
import type { Output } from "./output.ts";
import { bytes, localTime, plural } from "./words.ts";

interface Canvas {
  readonly paint: Output["paint"];
  /** Control characters are not for a terminal; whoever reads a pipe gets them. */
  readonly terminal: boolean;
}

/** Control characters, and those that turn the order of a text around, as text: what is under review must not hide itself. */
function caret(text: string): string {
  return text.replaceAll(/[^\P{Cc}\t\n]|[\u202A-\u202E\u2066-\u2069]/gu, (c) => {
    if (c === "\u007F") return "^?";
    return c < " "
      ? `^${String.fromCharCode(c.charCodeAt(0) + 64)}`
      : `<U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}

const NO_END = "\\ No newline at end of file";

const range = (line: number, lines: number) => (lines === 1 ? String(line) : `${line},${lines}`);
const header = ({ from_line, from_lines, to_line, to_lines }: Hunk) =>
  `@@ -${range(from_line, from_lines)} +${range(to_line, to_lines)} @@`;

function byLine({ kind, text }: Part, { paint }: Canvas): string {
  const [sign, colour] = kind === "same" ? [" "] : kind === "added" ? ["+", "green" as const] : ["-", "red" as const];
  const line = sign + text.replace(/\n$/, "");
  const end = text.endsWith("\n") ? "" : `\n${NO_END}`;
  return `${colour ? paint(colour, line) : line}${end}\n`;
}

/** Each line by itself, so that no mark or colour goes beyond a line's end; one that is empty is marked all the same. */
function byWord({ kind, text }: Part, { paint, terminal }: Canvas): string {
  if (kind === "same") return text;
  const mark = (line: string) =>
    kind === "added"
      ? terminal
        ? paint("green", line || "⏎")
        : `{+${line}+}`
      : terminal
        ? paint("red", line || "⏎")
        : `[-${line}-]`;
  const lines = text.split("\n");
  return lines.map((line, at) => (line === "" && at === lines.length - 1 ? "" : mark(line))).join("\n");
}

function hunkText(by: "word" | "line", hunk: Hunk, canvas: Canvas): string {
  const parts = canvas.terminal ? hunk.parts.map(({ kind, text }) => ({ kind, text: caret(text) })) : hunk.parts;
  const body = parts.map((part) => (by === "line" ? byLine(part, canvas) : byWord(part, canvas))).join("");
  return `${canvas.paint("cyan", header(hunk))}\n${body.endsWith("\n") ? body : `${body}\n`}`;
}

const value = (of: Json, { terminal }: Canvas) => (terminal ? caret(JSON.stringify(of)) : JSON.stringify(of));

const sideText = (name: string, side: DiffSide | null) =>
  side === null ? "/dev/null" : `${name}\t${side.timestamp} ${side.version}${side.sha256 === null ? " (nothing)" : ""}`;

const held = (side: DiffSide | null) =>
  side === null || side.sha256 === null ? "nothing" : `${bytes(side.size ?? 0)}, sha256 ${side.sha256}`;

/** The difference, line by line, each with its end; empty when there is none. */
export function sayDiff(diff: Diff, canvas: Canvas): string {
  const { from, to } = diff;
  const { paint } = canvas;
  const file = canvas.terminal ? caret(diff.file) : diff.file;
  const top = `${paint("bold", `--- ${sideText(file, from)}`)}\n${paint("bold", `+++ ${sideText(file, to)}`)}\n`;
  if ((from?.sha256 ?? null) === to.sha256) return "";
  if (diff.by === "none") {
    const why = diff.why === "binary" ? "not text: nothing to compare by line" : "too long to be compared";
    return `${top}${why}\n${paint("red", `- ${held(from)}`)}\n${paint("green", `+ ${held(to)}`)}\n`;
  }
  if (diff.by !== "path") return top + diff.hunks.map((hunk) => hunkText(diff.by, hunk, canvas)).join("");
  const steps = diff.changes.map((change) => {
    const path = change.path === "" ? "(all)" : canvas.terminal ? caret(change.path) : change.path;
    if (change.op === "add") return paint("green", `+ ${path}: ${value(change.after, canvas)}`);
    if (change.op === "remove") return paint("red", `- ${path}: ${value(change.before, canvas)}`);
    return `~ ${path}: ${paint("red", value(change.before, canvas))} → ${paint("green", value(change.after, canvas))}`;
  });
  return steps.length === 0
    ? `${top}the values are the same; --by line shows how they are written\n`
    : `${top}${steps.join("\n")}\n`;
}

const lines = ({ added, removed, from_size, to_size }: ChangedFile, { paint }: Canvas) =>
  added === null || removed === null
    ? `${from_size === null ? "nothing" : bytes(from_size)} → ${to_size === null ? "nothing" : bytes(to_size)}`
    : `${paint("green", `+${added}`)} ${paint("red", `-${removed}`)}`;

/** What is different from a moment: one line a key, and a sum. */
export function sayAsOf({ as_of, prefix, compared, files }: AsOf, canvas: Canvas): string {
  const sum = (of: "added" | "removed") => files.reduce((all, file) => all + (file[of] ?? 0), 0);
  const where = prefix === "" ? "" : ` of ${prefix}`;
  const when = localTime(as_of);
  if (files.length === 0) return `Nothing${where} is different from what it was at ${when} (${plural(compared, "file")}).\n`;
  const width = Math.max(...new Set(files.map(({ file }) => file.length)));
  const rows = files.map((each) => `${each.change.padEnd(7)}  ${each.file.padEnd(width)}  ${lines(each, canvas)}`);
  const verb = files.length === 1 ? "is" : "are";
  return `${rows.join("\n")}\n${files.length} of ${plural(compared, "file")}${where} ${verb} different from ${when}: +${sum("added")} -${sum("removed")} lines\n`;
}
