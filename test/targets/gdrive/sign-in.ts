/** Sign-in material in a folder of its own, and processes that use it. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { CredentialsOptions } from "../../../src/targets/gdrive/credentials.ts";
import { type DriveEmulator, type DriveEmulatorOptions, startDriveEmulator } from "../../../src/testing/drive-emulator.ts";
import { bundled } from "../../bundled.ts";
import { claims } from "./place.ts";

export function freshFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "aftersave-sign-in-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export async function emulator(options: DriveEmulatorOptions = {}): Promise<DriveEmulator> {
  const drive = await startDriveEmulator(options);
  onTestFinished(() => drive.close());
  return drive;
}

export interface Material extends CredentialsOptions {
  readonly write: (value: unknown, mode?: number) => void;
  readonly read: () => Record<string, unknown>;
  readonly mode: () => string;
}

const nowhere = { rootUrl: "http://127.0.0.1:9/", tokenUrl: "http://127.0.0.1:9/token" };

/** A token file and what is said about it. */
export function material(
  drive: Pick<DriveEmulator, "rootUrl" | "tokenUrl"> = nowhere,
  more: Partial<CredentialsOptions> = {},
): Material {
  const folder = freshFolder();
  const tokenFile = join(folder, "drive_token.json");
  return {
    name: "cloud",
    tokenFile,
    clientFile: join(folder, "drive_client.json"),
    auth: "user",
    scope: "https://www.googleapis.com/auth/drive.file",
    rootUrl: drive.rootUrl,
    tokenUrl: drive.tokenUrl,
    env: {},
    claim: claims(),
    clock: { now: () => Date.now(), sleep: async () => undefined },
    write: (value, mode = 0o600) => writeFileSync(tokenFile, typeof value === "string" ? value : JSON.stringify(value), { mode }),
    read: () => JSON.parse(readFileSync(tokenFile, "utf8")) as Record<string, unknown>,
    mode: () => (statSync(tokenFile).mode & 0o777).toString(8),
    ...more,
  };
}

/** A process of its own that keeps storing renewed tokens, or renews through Google's client: see sign-in.child.ts. */
export async function start(...args: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [await bundled(join(import.meta.dirname, "sign-in.child.ts")), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

export const said = (child: ChildProcess, word: string) =>
  new Promise<void>((resolve) => child.stdout?.on("data", (data: Buffer) => data.toString().includes(word) && resolve()));
export const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once("close", resolve));
