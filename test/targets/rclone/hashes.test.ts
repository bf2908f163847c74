import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bestOf, isCommon, sumOf } from "../../../src/targets/rclone/hashes.ts";
import { folder, hasRclone } from "./place.ts";

const MIB = 1024 * 1024;

/** The same bytes in parts of odd lengths. */
function* partsOf(bytes: Uint8Array) {
  for (let at = 0, length = 1; at < bytes.length; at += length, length = (length * 7 + 13) % 100_003)
    yield bytes.subarray(at, at + length);
}

describe("hashes of places", () => {
  test("the best that can be compared is taken, and none where there is none", () => {
    expect(bestOf(["md5", "sha1", "crc32", "sha256", "quickxor"])).toBe("sha256");
    expect(bestOf(["quickxor"])).toBe("quickxor");
    expect(bestOf(["crc32", "mailru"])).toBeUndefined();
    expect(bestOf([])).toBeUndefined();
    expect(["sha256", "sha1", "md5", "quickxor", "dropbox"].map(isCommon)).toEqual([true, true, true, false, false]);
  });

  test("what was published for Dropbox and for an empty QuickXorHash", () => {
    expect(sumOf("dropbox").end()).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(sumOf("quickxor").end()).toBe("0".repeat(40));
  });

  test.runIf(hasRclone)("are what rclone computes, at every edge", async () => {
    const disk = await folder();
    for (const size of [1, 19, 20, 21, 159, 160, 161, 70_000, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB]) {
      const bytes = new Uint8Array(randomBytes(size));
      await writeFile(join(disk, "file"), bytes);
      const said = execFileSync(
        "rclone",
        ["--config", "", "lsjson", "--hash", "--hash-type", "quickxor", "--hash-type", "dropbox", disk],
        {
          encoding: "utf8",
        },
      );
      const [{ Hashes }] = JSON.parse(said) as [{ Hashes: Record<string, string> }];
      for (const algo of ["quickxor", "dropbox"]) {
        const sum = sumOf(algo);
        for (const part of partsOf(bytes)) sum.update(part);
        expect(`${algo} ${size} ${sum.end()}`).toBe(`${algo} ${size} ${Hashes[algo]}`);
      }
    }
  });
});
