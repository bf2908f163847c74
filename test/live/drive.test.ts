/**
 * The driver and its assumptions on a real account, for whoever has one and wants to know. It writes below a folder of its own in
 * My Drive, which it removes again (unless it is stopped half-way), and takes some minutes, for Google counts writes.
 *
 *     AFTERSAVE_LIVE_DRIVE_TOKEN=drive_token.json npx vitest run test/live/drive.test.ts
 *
 * Further variables, all with this prefix: `CLIENT` (the OAuth client's file; else drive_client.json beside the token), `AUTH`
 * (`user`, `service_account`, `adc`), `SHARED_DRIVE` (the id of one to work in), `NOTES` (a file that is kept between runs, for
 * questions about time; else beside the token), `ROOT_URL` and `TOKEN_URL` (of what stands in for Google).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sourceOf } from "../../src/testing/source.ts";
import { targetSuite } from "../../src/testing/target-suite.ts";
import { memoryOf } from "../targets/gdrive/place.ts";
import { openLive, settingsFrom, type Live } from "./place.ts";
import { questions } from "./questions.ts";

const settings = settingsFrom(process.env);
const MINUTES = 60_000;

if (settings === undefined) it.skip("Google Drive, live (SKIPPED: AFTERSAVE_LIVE_DRIVE_TOKEN names no token file of an account)");
else
  describe("Google Drive, live", () => {
    let opened: Live | undefined;
    const the = (): Live => {
      if (opened === undefined) throw new Error("the account was not opened");
      return opened;
    };
    beforeAll(async () => {
      opened = await openLive(settings);
    }, MINUTES);
    afterAll(async () => {
      if (opened === undefined) return;
      await opened.close();
      const answers = Object.entries(opened.notes.answers).map(([asks, answer]) => `  ${asks}\n    ${answer}\n`);
      process.stdout.write(`\nWhat this Drive answers:\n${answers.join("")}`);
    }, MINUTES);

    describe("open questions", () => {
      it.each(questions)(
        "$asks",
        async ({ asks, answer }) => {
          const said = await answer(the());
          expect(said).not.toBe("");
          the().notes.answers[asks] = said;
          process.stdout.write(`${asks} ${said}\n`);
        },
        30 * MINUTES,
      );
    });

    describe("target suite", () => {
      let places = 0;
      targetSuite({
        test: (name, run) => it(name, run, 15 * MINUTES),
        options: { bigBytes: 5 * 1024 * 1024 + 1, patienceMs: 10 * MINUTES },
        open: async () => {
          const name = `place ${++places}`;
          const memory = memoryOf();
          const target = await the().target(name, memory);
          return {
            target,
            cleanup: () => target.close(),
            reopen: () => the().target(name, memory),
            foreignWrite: async (key, bytes) => {
              const id = (await target.stat(key))?.id;
              if (id === undefined) {
                // A stranger who knows the folders, so that a search that lags makes no second ones.
                const other = await the().target(name, memoryOf(new Map(await memory.list("folder/"))));
                const made = await other.put(key, sourceOf(bytes));
                await the().found(made.id ?? "");
              } else await the().does("PATCH", `upload/drive/v3/files/${id}`, { query: { uploadType: "media" }, media: bytes });
            },
          };
        },
      });
    });
  });
