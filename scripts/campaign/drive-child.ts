/**
 * Processes that save and upload to Drive.
 * @module
 */
import { spawn } from "node:child_process";

export interface DriveOrders {
  readonly root: string;
  /** Made one after the other, then everything is flushed. */
  readonly saves: readonly {
    readonly op: "append" | "replace";
    readonly key: string;
    readonly text?: string;
    /** Instead of `text`: what this file holds. */
    readonly file?: string;
  }[];
  /** Opens the memory and waits for `go`. */
  readonly wait?: boolean;
  /** Stays for so long when all is done, so that a kill on its way still meets it. */
  readonly lingerMs?: number;
}

export interface Saved {
  readonly key: string;
  readonly sha256: string;
  readonly archived_as: string | null;
}

export interface DriveChild {
  readonly ready: Promise<void>;
  readonly ended: Promise<{
    readonly saved: readonly Saved[];
    readonly killed: boolean;
    readonly code: number | null;
    readonly output: string;
  }>;
  go(): void;
  kill(): void;
  isOver(): boolean;
}

/** Starts the bundled program (`bundleChildren().drive`). */
export function startDriveChild(program: string, orders: DriveOrders): DriveChild {
  const child = spawn(process.execPath, [program, JSON.stringify(orders)], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, AFTERSAVE_NO_BACKGROUND: "1" },
  });
  let [stdout, stderr] = ["", ""];
  let isReady = (): void => undefined;
  const ready = new Promise<void>((resolve) => (isReady = resolve));
  child.stdin.on("error", () => undefined); // it may be dead by now
  child.stdout.setEncoding("utf8").on("data", (piece: string) => {
    stdout += piece;
    if (stdout.includes("\n")) isReady();
  });
  child.stderr.setEncoding("utf8").on("data", (piece: string) => (stderr += piece));
  const ended: DriveChild["ended"] = new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => {
      isReady();
      const lines = stdout
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as object);
      const saved = lines.filter((line): line is Saved => "sha256" in line);
      resolve({ saved, killed: signal === "SIGKILL", code, output: `${stdout}${stderr}` });
    });
  });
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  return { ready, ended, isOver, go: () => void child.stdin.write("go\n"), kill: () => void child.kill("SIGKILL") };
}
