/** Several sessions in one memory, and one of them is taken back. */
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { expect, it } from "vitest";
import { anySeed } from "../../src/testing/random.ts";
import { clockAt, expectChain, linesOf, makeRoot, type Root } from "./root.ts";

const START = "2026-04-13T10:00:00.000Z";
const files = ["a.txt", "Meta/b.md"] as const;
const sessions = ["s", "t", "u"] as const;

const tree = (root: Root) =>
  Object.fromEntries(Object.entries(root.files("Data")).filter(([path]) => !path.startsWith("Archive")));

const seed = anySeed();

it(`of sessions that append lines, each goes alone and in any order (seed ${seed})`, { timeout: 120_000 }, async () => {
  const line = fc.record({
    file: fc.constantFrom(...files),
    session: fc.constantFrom(...sessions),
    text: fc.oneof(
      fc.constantFrom("same", "", "- item"),
      fc.string({ maxLength: 8 }).map((text) => text.replaceAll("\n", " ")),
    ),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { minLength: 1, maxLength: 16 }),
      fc.shuffledSubarray([...sessions], { minLength: 1 }),
      async (said, gone) => {
        const root = makeRoot();
        const memory = await root.open({ clock: clockAt(START) });
        for (const { file, session, text } of said) await memory.append(file, `${text}\n`, { session_id: session });
        const model = makeRoot();
        for (const [n, session] of gone.entries()) {
          if (!said.some((each) => each.session === session)) continue;
          expect((await memory.undo({ session_id: session })).left).toEqual([]);
          rmSync(model.at("Data"), { recursive: true });
          mkdirSync(model.at("Data/Meta"), { recursive: true });
          for (const each of said)
            if (!gone.slice(0, n + 1).includes(each.session)) appendFileSync(model.at("Data", each.file), `${each.text}\n`);
          expect(tree(root)).toEqual(tree(model));
        }
        await memory.close();
      },
    ),
    { seed, numRuns: 15 },
  );
});

it(
  `whatever happened, an undo is taken back whole, and what it leaves is untouched (seed ${seed})`,
  { timeout: 120_000 },
  async () => {
    const moment = fc.record({
      op: fc.constantFrom("append", "append", "replace", "edit", "archive", "external" as const),
      file: fc.constantFrom(...files),
      session: fc.constantFrom(...sessions),
      line: fc.nat({ max: 9 }),
      body: fc.oneof(
        fc.constantFrom("x\n", "", "no end"),
        fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
      ),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(moment, { minLength: 2, maxLength: 12 }), fc.constantFrom(...sessions), async (moments, gone) => {
        const root = makeRoot();
        const memory = await root.open({ clock: clockAt(START) });
        const ten = Array.from({ length: 10 }, (_, i) => `line ${i}`);
        for (const file of files) await memory.append(file, `${ten.join("\n")}\n`);
        for (const [n, { op, file, session, line, body }] of moments.entries()) {
          const meta = { session_id: session };
          if (op === "edit") await memory.replace(file, `${ten.with(line, `edited ${n}`).join("\n")}\n`, meta);
          else if (op === "archive")
            await memory
              .archive(file, meta)
              .catch((error: unknown) => expect((error as { code: string }).code).toBe("E_NOT_FOUND"));
          else if (op === "external") writeFileSync(root.at("Data", file), body);
          else await memory[op](file, body, meta);
        }
        const before = tree(root);
        const wish = { session_id: gone };
        const outcome = await memory
          .undo(wish)
          .catch((error: unknown) => void expect((error as { code: string }).code).toBe("E_NOT_FOUND"));
        const changed = new Set<string>(outcome?.receipts.map(({ file }) => file));
        const after = tree(root);
        for (const file of files) if (!changed.has(file)) expect(after[file]).toBe(before[file]);
        for (const { code } of outcome?.left ?? []) expect(code).toBe("E_OVERLAP");
        if (outcome && changed.size > 0) expect((await memory.undo({ session_id: outcome.plan.plan })).left).toEqual([]);
        expect(tree(root)).toEqual(before);
        await memory.close();
        await expectChain(root.changelog, (await linesOf(root.changelog)).length);
      }),
      { seed, numRuns: 20 },
    );
  },
);
