import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DriverMemory, Target } from "../../../src/core/target.ts";
import { createGdriveTarget } from "../../../src/targets/gdrive.ts";
import type { DriverContext } from "../../../src/targets/shared/driver.ts";
import { type DriveEmulator, type DriveEmulatorOptions, startDriveEmulator } from "../../../src/testing/drive-emulator.ts";

/** A driver's memory that lives as long as the test. */
export function memoryOf(values = new Map<string, string>()): DriverMemory {
  return {
    get: async (name) => values.get(name),
    set: async (name, value) => void values.set(name, value),
    delete: async (name) => void values.delete(name),
    list: async (prefix) => [...values].filter(([name]) => name.startsWith(prefix)).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  };
}

/** One holder at a time, inside this process. */
export function claims(): DriverContext["claim"] {
  const lines = new Map<string, Promise<void>>();
  return async (what) => {
    const before = lines.get(what) ?? Promise.resolve();
    let release = () => undefined as void;
    lines.set(what, new Promise((resolve) => (release = resolve)));
    await before;
    return release;
  };
}

export interface OnDrive {
  readonly drive: DriveEmulator;
  readonly target: Target;
  readonly memory: DriverMemory;
  /** Another target with the same memory (`machine` left out), or as another machine has it. */
  readonly another: (machine?: { memory?: DriverMemory; root?: string; options?: Record<string, unknown> }) => Promise<Target>;
  readonly close: () => Promise<void>;
}

/** A real driver on an emulated Drive. */
export async function onDrive(
  options: DriveEmulatorOptions & {
    readonly root?: string;
    readonly target?: Record<string, unknown>;
    readonly drive?: DriveEmulator;
    readonly timeoutMs?: number;
  } = {},
): Promise<OnDrive> {
  const folder = await mkdtemp(join(tmpdir(), "aftersave-gdrive-"));
  const drive = options.drive ?? (await startDriveEmulator(options));
  const tokenFile = join(folder, "drive_token.json");
  await writeFile(tokenFile, JSON.stringify(drive.authorizedUser()), { mode: 0o600 });
  const memory = memoryOf();
  const opened: Target[] = [];
  const claim = claims();
  const another: OnDrive["another"] = async ({
    memory: own = memory,
    root = options.root ?? "Drive/MemoryVDB/",
    options: more,
  } = {}) => {
    const target = createGdriveTarget({
      name: "drive",
      root,
      options: {
        auth: "user",
        root_url: drive.rootUrl,
        token_url: drive.tokenUrl,
        scope: "https://www.googleapis.com/auth/drive.file",
        writes_per_second: "off",
        write_burst: 20,
        ...options.target,
        ...more,
      },
      tokenFile,
      clientFile: join(folder, "drive_client.json"),
      timeoutMs: options.timeoutMs ?? 20_000,
      env: {},
      memory: own,
      claim: own === memory ? claim : claims(),
      clock: {
        now: () => Date.now(),
        sleep: (ms, signal) =>
          new Promise((resolve, reject) => {
            const timer = setTimeout(resolve, ms);
            signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason as Error)), { once: true });
          }),
      },
    });
    opened.push(target);
    return target;
  };
  return {
    drive,
    target: await another(),
    memory,
    another,
    close: async () => {
      for (const target of opened) await target.close();
      if (!options.drive) await drive.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
