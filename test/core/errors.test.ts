import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { AftersaveError, asAftersaveError, ERRORS, EXIT, saidOf, TargetError, type FaultKind } from "../../src/core/errors.ts";

const docs = readFileSync("docs/errors.md", "utf8");
const cells = docs
  .split("\n")
  .filter((line) => line.startsWith("| `E_"))
  .map((line) => line.split("|").map((cell) => cell.trim()));
const documented = cells.map(([, code = "", exit, means, cure = "", data]) => ({ code, exit, means, cure, data }));

describe("docs/errors.md", () => {
  it("has every code, with its exit code, its meaning and what it says of your data, and no other", () => {
    const table = Object.entries(ERRORS).map(([code, { exit, means, data }]) => [`\`${code}\``, String(exit), means, data]);
    expect(documented.map(({ code, exit, means, data }) => [code, exit, means, data])).toEqual(table);
  });

  it("says what to do for each", () => {
    expect(documented.filter(({ cure }) => !/^\S.*[.`]$/.test(cure))).toEqual([]);
  });

  it("explains every exit code", () => {
    const explained = [...docs.matchAll(/^\| (\d) +\| /gm)].map(([, exit]) => Number(exit));
    expect(explained).toEqual(Object.values(EXIT));
  });
});

describe("errors", () => {
  it.each([
    ["ENOSPC", "E_NO_SPACE"],
    ["EDQUOT", "E_NO_SPACE"],
    ["EROFS", "E_READ_ONLY"],
    ["EACCES", "E_PERMISSION"],
    ["ENOENT", "E_NOT_FOUND"],
    ["EISDIR", "E_KEY_FOLDER"],
    ["EMFILE", "E_IO"],
    ["ERR_MODULE_NOT_FOUND", "E_INTERNAL"],
    ["", "E_INTERNAL"],
  ])("a system error %s becomes %s, with its cause and a next step", (errno, code) => {
    const cause = Object.assign(new Error("why"), { code: errno });
    const error = asAftersaveError(cause, "doing it");
    expect(error).toMatchObject({ code, cause, hint: expect.stringMatching(/\.$/) });
    expect(error.message).toMatch(/^doing it failed: (why|(the|this) .* \(why\))$/);
    expect(error.exit).toBe(ERRORS[error.code].exit);
  });

  it("names the file that people know, not the one that was to become it", () => {
    const cause = Object.assign(new Error("ENOSPC: no space left on device, open '/r/Data/.A.txt.1'"), { code: "ENOSPC" });
    const error = asAftersaveError(saidOf(cause, "/r/Data/.A.txt.1", "/r/Data/A.txt"), "replace of A.txt");
    expect(error.message).toBe(
      "replace of A.txt failed: the disk is full (ENOSPC: no space left on device, open '/r/Data/A.txt')",
    );
    expect(saidOf("no error", "a", "b")).toBe("no error");
  });

  it("an error of ours stays what it is, and anything else that was thrown is told", () => {
    const ours = new AftersaveError("E_STALE", "stale");
    expect(asAftersaveError(ours, "doing it")).toBe(ours);
    expect(asAftersaveError("a text", "doing it")).toMatchObject({ code: "E_INTERNAL", message: "doing it failed: a text" });
  });

  it("only throttled and transient faults of a target can pass", () => {
    const kinds: FaultKind[] = ["not-found", "conflict", "auth", "quota", "throttled", "transient", "corrupt", "unsupported"];
    const passing = kinds.filter((kind) => new TargetError(kind, "x").canPass);
    expect(passing).toEqual(["throttled", "transient"]);
  });
});
