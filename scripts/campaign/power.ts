/**
 * Power cuts: a file system of its own is shut down under the writer (what was not synced is gone), mounted again and
 * looked at. Needs root, loop devices and the tools of that file system.
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { seededRandom } from "../../src/testing/random.ts";
import { examine } from "./check.ts";
import { startWriter } from "./child.ts";
import type { Did } from "./orders.ts";
import { makeRoot } from "./root.ts";

export type FileSystem = "ext4" | "xfs" | "tmpfs";

/** Runs a tool of the system to its end; throws when it fails. */
export const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });

/** A file system that may be broken. `path` is where it is mounted. */
export interface Volume {
  readonly path: string;
  /** What a power cut does: from now on every call fails, and what was not synced is lost. */
  cut(): void;
  /** The machine is on again. */
  restart(): void;
  remount(options: string): void;
  remove(): void;
}

/** The kernel may hold a killed process's files for a moment after its end was told. */
function unmount(path: string): void {
  for (let tries = 1; ; tries++)
    try {
      return void run("umount", path);
    } catch (error) {
      if (tries === 50 || !String(error).includes("busy")) throw error;
      run("sleep", "0.1");
    }
}

/** FS_IOC_SHUTDOWN, without flushing the log. */
const shutdown = `sysopen(my $f, $ARGV[0], 0) or die $!; my $mode = pack("I", 2); ioctl($f, 0x8004587d, $mode) or die $!`;

export function createVolume(type: FileSystem, megabytes: number): Volume {
  const folder = mkdtempSync(join(tmpdir(), "aftersave-volume-"));
  const [image, path] = [join(folder, "image"), join(folder, "mount")];
  mkdirSync(path);
  const mount = () =>
    type === "tmpfs"
      ? run("mount", "-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path)
      : run("mount", "-o", "loop", image, path);
  try {
    if (type !== "tmpfs") {
      run("truncate", "-s", `${megabytes}M`, image);
      run(`mkfs.${type}`, "-q", ...(type === "ext4" ? ["-m", "0"] : []), image);
    }
    mount();
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  return {
    path,
    cut: () => void run("perl", "-e", shutdown, path),
    restart() {
      unmount(path);
      mount();
    },
    remount: (options) => void run("mount", "-o", `remount,${options}`, path),
    remove() {
      unmount(path);
      rmSync(folder, { recursive: true });
    },
  };
}

/** Why `type` cannot be used here; undefined when it can. */
export function whyNoVolume(type: FileSystem): string | undefined {
  try {
    const volume = createVolume(type, type === "xfs" ? 320 : 32);
    try {
      if (type !== "tmpfs") {
        volume.cut();
        volume.restart();
      }
    } finally {
      volume.remove();
    }
    return undefined;
  } catch (error) {
    return `no ${type} volume can be made here: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`;
  }
}

/**
 * A memory root, its logs and folder target on one volume, cut again and again; the state too, unless it is elsewhere:
 * then no sync of the state makes anything else durable by the way.
 */
export function createOutage(writer: string, type: "ext4" | "xfs", stateElsewhere: boolean) {
  const volume = createVolume(type, 320);
  const elsewhere = mkdtempSync(join(tmpdir(), "aftersave-state-"));
  const root = makeRoot(stateElsewhere ? { state_dir: elsewhere } : {}, volume.path);
  run("sync", "-f", volume.path);
  const accepted: Did[] = [];
  const foreign = (key: string) => key.startsWith("Foreign/");
  return {
    accepted: () => accepted.length,
    async cut(seed: number, withinMs: number): Promise<readonly string[]> {
      const running = startWriter(writer, { root, seed, count: 10_000 });
      await running.ready;
      await pause(seededRandom(seed ^ 0x2545f491)() * withinMs);
      volume.cut();
      running.kill();
      const ended = await running.ended;
      volume.restart();
      accepted.push(...ended.accepted);
      const { problems, versions } = await examine(root, { accepted, unsure: ended.unsure, foreign });
      const known = new Set(accepted.map(({ version }) => version));
      for (const { version, file, sha256, size, archived_as } of versions)
        if (!known.has(version)) accepted.push({ did: "append", version, file, sha256, size, archived_as });
      run("sync", "-f", volume.path);
      return problems;
    },
    remove() {
      volume.remove();
      rmSync(elsewhere, { recursive: true });
    },
  };
}
