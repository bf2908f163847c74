// Where tests make their folders: on the disk what proves that a save survives, in memory what would only wait for the disk.
import { expect, inject } from "vitest";

const onDisk = /[\\/]proof[\\/](crowd|faults|kill)\.test\.ts$/;
if (!onDisk.test(expect.getState().testPath ?? "")) process.env["TMPDIR"] = inject("temporary");
