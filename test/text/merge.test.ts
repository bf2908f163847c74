/** Two changes to one text come together, and nothing that one side added is lost. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anySeed } from "../../src/testing/random.ts";
import { mergeLines } from "../../src/text/merge.ts";

const seed = anySeed();
const text = fc
  .array(fc.constantFrom("a\n", "b\n", "c", "\n", "a\r\n", "  a\n", "🙂\n", "x y z\n"), { maxLength: 20 })
  .map((lines) => lines.join(""));
const check = <T>(property: fc.IAsyncProperty<T>, numRuns = 1000) => fc.assert(property, { seed, numRuns });

describe(`merging (seed ${seed})`, () => {
  it("a side that changed nothing takes the other's text as it is", async () => {
    await check(
      fc.asyncProperty(text, text, async (base, changed) => {
        expect(await mergeLines(base, base, changed)).toEqual({ text: changed, conflicts: 0 });
        expect(await mergeLines(base, changed, base)).toEqual({ text: changed, conflicts: 0 });
        expect(await mergeLines(base, changed, changed)).toEqual({ text: changed, conflicts: 0 });
      }),
    );
  });

  it("every line that a side added is in the result, between markers or not", async () => {
    const added = (base: string, side: string) => {
      const had = base.split("\n");
      return side.split("\n").filter((line) => {
        const at = had.indexOf(line);
        if (at >= 0) had.splice(at, 1);
        return at < 0;
      });
    };
    await check(
      fc.asyncProperty(text, text, text, async (base, ours, theirs) => {
        const merged = (await mergeLines(base, ours, theirs)).text.split("\n");
        for (const side of [ours, theirs]) for (const line of added(base, side)) expect(merged).toContain(line);
      }),
    );
  });

  /** Edits of lines of their own: what each does to each line, by its number; never next to one of the other's. */
  const edits = fc.array(
    fc.constantFrom("keep", "ours drop", "theirs drop", "ours change", "theirs change", "ours add", "theirs add"),
    {
      maxLength: 40,
    },
  );
  it("edits with an untouched line between them always merge, and the result has both", async () => {
    await check(
      fc.asyncProperty(edits, async (plan) => {
        const lines = plan.flatMap((edit, n) => [
          { edit: "keep", line: `still ${n}\n` },
          { edit, line: `line ${n}\n` },
        ]);
        lines.push({ edit: "keep", line: "end\n" });
        const as = (...who: string[]) =>
          lines
            .map(({ edit, line }) => {
              const [side = "", what] = edit.split(" ");
              if (!who.includes(side)) return line;
              return what === "drop" ? "" : what === "change" ? `${side}: ${line}` : `${line}${side} adds\n`;
            })
            .join("");
        expect(await mergeLines(as(), as("ours"), as("theirs"))).toEqual({ text: as("ours", "theirs"), conflicts: 0 });
      }),
    );
  });

  it("the same lines changed differently conflict, with both sides between markers and their names", async () => {
    const { text: merged, conflicts } = await mergeLines("a\nb\nc\n", "a\nours\nc\n", "a\ntheirs\nc\n", {
      ours: "me",
      theirs: "you",
    });
    expect(conflicts).toBe(1);
    expect(merged).toBe("a\n<<<<<<< me\nours\n=======\ntheirs\n>>>>>>> you\nc\n");
  });

  it("what both appended is kept, theirs first", async () => {
    expect(await mergeLines("a\n", "a\nours\n", "a\ntheirs")).toEqual({ text: "a\ntheirs\nours\n", conflicts: 0 });
  });

  it("takes no longer than a moment for 50,000 lines, also where many are alike", async () => {
    const base = Array.from({ length: 50_000 }, (_, n) => (n % 4 === 0 ? "\n" : `line ${n}\n`));
    const ours = base.with(1, "ours\n").with(49_990, "ours too\n");
    const theirs = base.with(5, "theirs\n").toSpliced(25_000, 1);
    const started = performance.now();
    const merged = await mergeLines(base.join(""), ours.join(""), theirs.join(""));
    expect(performance.now() - started).toBeLessThan(10_000); // far above what it takes: hours is what this is about
    expect(merged.conflicts).toBe(0);
    expect(merged.text).toBe(ours.with(5, "theirs\n").toSpliced(25_000, 1).join(""));
  });
});
