// Where tests make their folders: on the disk what proves that a save survives, in memory what would only wait for the disk.
import { expect, inject } from "vitest";

if (!expect.getState().testPath?.includes("/test/proof/")) process.env["TMPDIR"] = inject("temporary");
