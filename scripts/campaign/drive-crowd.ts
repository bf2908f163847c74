/**
 * Several processes and several machines that begin on one empty Drive at the same moment.
 * @module
 */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openMemory } from "../../src/open.ts";
import { type DriveEmulatorOptions, startDriveEmulator } from "../../src/testing/drive-emulator.ts";
import { held, makeDriveRoot, problemsOn, wasteOn } from "./drive.ts";
import { type DriveOrders, startDriveChild } from "./drive-child.ts";
import { removeRoot } from "./root.ts";

export interface DriveCrowd {
  readonly processes: number;
  /** Each has the memory root and its history, and neither the others' state nor their claims. */
  readonly machines: boolean;
  /** New files, which every one of them saves. */
  readonly files: number;
  readonly drive: DriveEmulatorOptions;
}

/** The same memory root as it is on another machine: without its state. */
function copyOf(root: string): string {
  const copy = mkdtempSync(join(tmpdir(), "aftersave-root-"));
  cpSync(root, copy, { recursive: true });
  rmSync(join(copy, ".aftersave"), { recursive: true, force: true });
  return copy;
}

/** What is broken on the Drive when all have flushed, and each once more. */
export async function driveCrowd(
  program: string,
  { processes, machines, files, drive: options }: DriveCrowd,
): Promise<readonly string[]> {
  const drive = await startDriveEmulator(options);
  const first = makeDriveRoot(drive);
  const roots = [first];
  try {
    const memory = await openMemory({ root: first });
    await memory.append("Core/Rules.txt", "be kind\n");
    await memory.close();
    while (machines && roots.length < processes) roots.push(copyOf(first));

    const keys = Array.from({ length: files }, (_, n) => `Zone${n % 3}/new ${n}.txt`);
    const saves: DriveOrders["saves"] = keys.map((key) => ({ op: "replace", key, text: `${key}, as everyone has it\n` }));
    const rootOf = (n: number) => roots[n % roots.length] ?? first;
    const run = async (all: DriveOrders["saves"]) => {
      const children = Array.from({ length: processes }, (_, n) =>
        startDriveChild(program, { root: rootOf(n), saves: all, wait: true }),
      );
      await Promise.all(children.map(({ ready }) => ready));
      for (const child of children) child.go();
      const ends = await Promise.all(children.map(({ ended }) => ended));
      return ends.filter(({ code }) => code !== 0).map(({ code, output }) => `a process ended with ${code}: ${output}`);
    };
    const problems = [...(await run(saves)), ...(await run([]))];
    if (!machines) problems.push(...wasteOn(drive));
    for (const root of roots) {
      const expected = held(root);
      if (expected.size !== files + 1) problems.push(`${expected.size} files in the tree instead of ${files + 1}`);
      problems.push(...problemsOn(drive, expected));
      const again = await openMemory({ root });
      const { pending, failed, conflicts } = await again.status();
      await again.close();
      if (pending + failed + conflicts > 0) problems.push(`${pending} pending, ${failed} failed, ${conflicts} conflicts`);
    }
    return problems;
  } finally {
    await drive.close();
    for (const root of roots) removeRoot(root);
  }
}
