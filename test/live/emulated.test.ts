/** The live suite itself works: here it runs against the emulator, as a person would run it against Google. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startDriveEmulator, type DriveEmulator } from "../../src/testing/drive-emulator.ts";
import { run } from "../witness/client.ts";
import type { Notes } from "./place.ts";

let drive: DriveEmulator;
let folder: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "aftersave-live-"));
  drive = await startDriveEmulator();
});
afterEach(async () => {
  await drive.close();
  rmSync(folder, { recursive: true });
});

/** What the account answers, by question, and how many tests there were. */
async function live(
  only: string,
  more: Readonly<Record<string, string>> = {},
): Promise<{ answers: Notes["answers"]; passed: number }> {
  const tokenFile = join(folder, "drive_token.json");
  writeFileSync(tokenFile, JSON.stringify(drive.authorizedUser()), { mode: 0o600 });
  const report = join(folder, "report.json");
  const args = ["node_modules/vitest/vitest.mjs", "run", "test/live/drive.test.ts", "-t", only];
  const { code, stdout, stderr } = await run(process.execPath, [...args, "--reporter=json", `--outputFile=${report}`], {
    PATH: process.env["PATH"] ?? "",
    AFTERSAVE_LIVE_DRIVE_TOKEN: tokenFile,
    AFTERSAVE_LIVE_DRIVE_NOTES: join(folder, "notes.json"),
    AFTERSAVE_LIVE_DRIVE_ROOT_URL: drive.rootUrl,
    AFTERSAVE_LIVE_DRIVE_TOKEN_URL: drive.tokenUrl,
    ...more,
  });
  expect(code, stdout + stderr).toBe(0);
  const { numPassedTests } = JSON.parse(readFileSync(report, "utf8")) as { numPassedTests: number };
  const { answers } = JSON.parse(readFileSync(join(folder, "notes.json"), "utf8")) as Notes;
  return { answers, passed: numPassedTests };
}

const left = () => drive.account.tree().map(({ path }) => path);
const KEEPSAKE = "aftersave live test, keep until the next run";

it(
  "asks every question, those about time once more under another sign-in, runs the target suite and cleans up",
  { timeout: 240_000 },
  async () => {
    const first = await live("open questions");
    expect(first.answers).toEqual({
      "With what reason is an id refused that is taken?": "create 409 fileIdInUse, copy 409 fileIdInUse, v2 409 fileIdInUse",
      "Can an id be used again once its file is in the trash, and once it is deleted?":
        "in the trash 409 fileIdInUse, deleted 409 fileIdInUse",
      "How long does a reserved id live?": expect.stringMatching(/^ask again in some weeks/),
      "Do reserved ids work in a shared drive?": expect.stringMatching(/^not asked/),
      "Does an upload by version 3 honour If-Match?": "no: a stale etag was ignored (200)",
      "Does an upload by version 2 honour If-Match?": "stale 412 conditionNotMet, right 200",
      "When is If-Match looked at in a resumable upload?": "stale at the start 412 conditionNotMet, stale by the end 200",
      "Does an etag move although the content stays?": "not within 0.3 s",
      "Can a revision be read that is not kept for ever?": expect.stringMatching(
        /^old 403 download_restricted_for_revision, old and kept 200/,
      ),
      "How soon does a search find a new file?":
        "by parent: 3 of 3 at once; by name: 3 of 3 at once; by property: 3 of 3 at once",
      "What is answered to a create in a folder that is trashed, or deleted?":
        "trashed 200 and it is in the trash, deleted 404 notFound",
      "Does a copy take the properties of the app along?": "yes",
      "Does the answer to an upload carry the SHA-256?": "yes",
      "Does a file stay visible after the consent is revoked and given again?": expect.stringMatching(/^not yet/),
    });
    expect(first.passed).toBe(Object.keys(first.answers).length);
    expect(left()).toEqual([KEEPSAKE]);

    const { id } = drive.account.addSharedDrive("Team");
    drive.account.revokeTokens();
    Object.assign(drive.settings.lag, { nameMs: 300 });
    const second = await live("open questions|target suite (put: someone|remove|life)", {
      AFTERSAVE_LIVE_DRIVE_SHARED_DRIVE: id,
    });
    expect(second.answers).toEqual({
      ...first.answers,
      "How long does a reserved id live?": "after 0.0 days: 200",
      "Do reserved ids work in a shared drive?": "first 200, repeated 409 fileIdInUse",
      "How soon does a search find a new file?": expect.stringMatching(
        /^by parent: 3 of 3 at once; by name: [0-2] of 3 at once, the last after \d+ ms; by property: 3 of 3 at once$/,
      ),
      "Does a file stay visible after the consent is revoked and given again?": "yes (200)",
    });
    expect(second.passed).toBeGreaterThan(first.passed + 5);
    expect(left()).toEqual([`//Team/${KEEPSAKE}`]);
  },
);
