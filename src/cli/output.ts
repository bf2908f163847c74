/**
 * What a command says: answers to stdout, everything else to stderr; colours and wrapping only on a terminal.
 * @module
 */
import { stripVTControlCharacters, styleText } from "node:util";

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

export interface Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /**
   * The command's one answer: the value as a JSON document, or the text for people. `bad` is what of it `--quiet` must not
   * hide; it goes to stderr then.
   */
  answer(value: unknown, text: () => string, bad?: () => string): void;
  /** Whether the one answer was given. */
  readonly answered: boolean;
  /** One line of JSON, for what answers line by line. Resolves when there is room for more. */
  line(value: unknown): Promise<void>;
  /** Text for people on stdout; nothing with `--json` or `--quiet`. */
  say(text: string): void;
  /** A remark on stderr; nothing with `--quiet`. */
  note(text: string): void;
  /**
   * How far the work is, in one line of stderr that the next output replaces; only where people watch. Not by
   * @clack/prompts: it puts the terminal into raw mode and answers Ctrl-C with exit code 0.
   */
  progress(done: number, of: number, what: string): void;
  /** Something that should not be overlooked, on stderr. */
  warn(text: string): void;
  /** An error, or what a person has to act on now; on stderr, whatever the options are. */
  fail(text: string): void;
  paint(style: Style, text: string): string;
  /** Aborts when nobody reads stdout any more, or nothing can be written there. */
  readonly closed: AbortSignal;
  /** Resolves when all is written, with the fault if something could not be. A reader that went away is none. */
  fault(): Promise<NodeJS.ErrnoException | undefined>;
}

/** Breaks lines at spaces so that they fit; what follows a line's own indent is indented alike. */
export function wrap(text: string, width: number): string {
  return text
    .split("\n")
    .map((line) => {
      const indent = /^\s*/.exec(line)?.[0] ?? "";
      const rows = [""];
      for (const word of line.slice(indent.length).split(" ")) {
        const row = rows.at(-1) ?? "";
        const longer = row === "" ? word : `${row} ${word}`;
        if (row === "" || indent.length + stripVTControlCharacters(longer).length <= width) rows[rows.length - 1] = longer;
        else rows.push(word);
      }
      return rows.map((row) => (row === "" ? "" : indent + row)).join("\n");
    })
    .join("\n");
}

/** Control characters that JSON may hold as they are, and those that turn the direction of a text: what is seen would not be what is there. */
const UNSEEN = /[\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;

/** `value` as JSON that a terminal shows as it is; the same value for whoever reads it. */
export const jsonText = (value: unknown, indent = 0): string =>
  JSON.stringify(value, null, indent).replace(UNSEEN, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

const fitted = (text: string, stream: NodeJS.WriteStream) => (stream.isTTY ? wrap(text, Math.max(40, stream.columns)) : text);

/** `stdout` and `stderr` are the process's own. A reader that went away is not an error; of a broken stderr nobody can be told. */
export function createOutput(json: boolean, quiet: boolean): Output {
  const { stdout, stderr } = process;
  const gone = new AbortController();
  let fault: NodeJS.ErrnoException | undefined;
  let answered = false;
  stderr.on("error", () => undefined);
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") fault ??= error;
    gone.abort();
  });
  let drawn = false;
  const clear = () => {
    if (drawn) stderr.write("\r\u001B[K");
    drawn = false;
  };
  const write = (text: string) => {
    clear();
    return stdout.write(`${text}\n`);
  };
  const tell = (text: string) => {
    clear();
    stderr.write(`${fitted(text, stderr)}\n`);
  };
  return {
    json,
    quiet,
    closed: gone.signal,
    get answered() {
      return answered;
    },
    async fault() {
      await new Promise<void>((resolve) => void stdout.write("", () => resolve()));
      return fault;
    },
    answer(value, text, bad) {
      answered = true;
      if (json) write(jsonText(value, stdout.isTTY ? 2 : 0));
      else if (!quiet) write(fitted(text(), stdout));
      else if (bad && bad() !== "") tell(bad());
    },
    async line(value) {
      if (gone.signal.aborted || write(jsonText(value))) return;
      await new Promise<void>((resolve) => {
        const done = () => {
          stdout.off("drain", done);
          gone.signal.removeEventListener("abort", done);
          resolve();
        };
        stdout.on("drain", done);
        gone.signal.addEventListener("abort", done);
      });
    },
    say(text) {
      if (!json && !quiet) write(fitted(text, stdout));
    },
    note(text) {
      if (!quiet) tell(text);
    },
    progress(done, of, what) {
      if (quiet || !stderr.isTTY) return;
      const full = Math.round((20 * done) / Math.max(done, of, 1));
      const line = `${"█".repeat(full)}${"░".repeat(20 - full)} ${done}/${Math.max(done, of)} ${what}`;
      stderr.write(`\r\u001B[K${line.slice(0, stderr.columns - 1)}`);
      drawn = true;
    },
    warn(text) {
      tell(`${styleText("yellow", "warning:", { stream: stderr })} ${text}`);
    },
    fail: tell,
    paint: (style, text) => styleText(style, text, { stream: stdout }),
  };
}
