/**
 * Facts as people read them.
 * @module
 */
import { format } from "date-fns/format";
import { formatDistanceStrict } from "date-fns/formatDistanceStrict";
import { parseISO } from "date-fns/parseISO";
import type { Receipt, ReceiptUpload, TargetStatus, UploadResult } from "../index.ts";
import type { Output } from "./output.ts";

type Paint = Output["paint"];

export const plural = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;

export function bytes(n: number): string {
  if (n < 1000) return plural(n, "byte");
  const units = ["kB", "MB", "GB", "TB"];
  const power = Math.min(units.length, Math.floor(Math.log10(n) / 3));
  const value = n / 1000 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[power - 1]}`;
}

/** Local time, to the second, in an order that sorts. */
export const localTime = (iso: string): string => format(parseISO(iso), "yyyy-MM-dd HH:mm:ss");

/** How long ago that time was. */
export function ago(iso: string): string {
  const [then, now] = [parseISO(iso), new Date()];
  return now.getTime() - then.getTime() < 2000
    ? "just now"
    : formatDistanceStrict(then, now, { addSuffix: true, roundingMethod: "floor" });
}

/** How long something took. */
export const took = (ms: number): string => (ms < 950 ? `${ms} ms` : `${Math.round(ms / 1000)} s`);

/** Who writes to a target, when it is more than one. */
export const sayWriters = (writers: TargetStatus["writers"]): string[] =>
  writers.length < 2
    ? []
    : [`${plural(writers.length, "writer")} (${writers.map(({ host, writer }) => host ?? writer).join(", ")})`];

const done: Record<Receipt["op"], string> = {
  append: "appended to",
  replace: "replaced",
  archive: "archived",
  restore: "restored",
  external: "found changed:",
  accept: "accepted what was held:",
  reject: "rejected what was held:",
};

const upload = ({ target, status, drive_path, notes }: ReceiptUpload, paint: Paint): string => {
  if (status === "success") return `  ${target}: ${paint("green", "uploaded")} to ${drive_path}`;
  if (status === "skipped") return `  ${target}: already there, at ${drive_path}`;
  if (status === "conflict") return `  ${target}: ${paint("yellow", "conflict")}: ${notes}`;
  return `  ${target}: ${paint("red", status.replace("_", " "))}: ${notes}`;
};

/** A receipt in two or three lines. */
export function sayReceipt(receipt: Receipt, paint: Paint): string {
  const { op, file, size, unchanged, archived_as, version, uploads, alarms, warnings } = receipt;
  const holds = size === null ? "" : ` (${bytes(size)})`;
  const waiting = uploads.filter(({ status }) => status === "pending").map(({ target }) => target);
  return [
    unchanged
      ? `unchanged: ${file}${holds} holds these bytes already`
      : `${done[op]} ${paint("bold", file)}${holds}, version ${version}`,
    ...alarms.map(({ says }) => `  ${paint("red", "ALARM:")} ${says}`),
    ...(archived_as === null || unchanged ? [] : [`  ${op === "archive" ? "now at" : "before it:"} ${archived_as}`]),
    ...(waiting.length > 0 ? [`  ${waiting.join(", ")}: upload pending`] : []),
    ...uploads.filter(({ status }) => status !== "pending").map((each) => upload(each, paint)),
    ...warnings.map((warning) => `  ${paint("yellow", "note:")} ${warning}`),
  ].join("\n");
}

/** What became of an upload, in a word or two. */
export const outcomeWord = ({
  status,
  code,
}: Pick<UploadResult, "status" | "code">): "uploaded" | "unchanged" | "conflict" | "held" | "failed" =>
  code === "E_CONFLICT"
    ? "conflict"
    : code === "E_HELD"
      ? "held"
      : status === "success"
        ? "uploaded"
        : status === "skipped"
          ? "unchanged"
          : "failed";
