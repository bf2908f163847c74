import { expect, suite, test } from "vitest";
import { sourceOf } from "../../src/testing/source.ts";
import { anySeed, seededRandom } from "../../src/testing/random.ts";
import { maskedChunks } from "../../src/secrets/mask.ts";
import { mayHold } from "../../src/secrets/rules.ts";
import { scan, type Found, type WindowSizes } from "../../src/secrets/scan.ts";
import { harmless, met, named, samples } from "./samples.ts";

async function* cut(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function find(bytes: Uint8Array | string, sizes?: WindowSizes, piece = 1 << 16): Promise<Found[]> {
  const found = [];
  for await (const stretch of scan(cut(Buffer.from(bytes as string), piece), sizes)) found.push(...stretch.found);
  return found;
}

async function mask(bytes: Uint8Array, sizes?: WindowSizes, piece = 1 << 16): Promise<Buffer> {
  const pieces = [];
  for await (const chunk of maskedChunks(cut(bytes, piece), () => true, sizes)) pieces.push(chunk);
  return Buffer.concat(pieces);
}

/** Where a value may stand. */
const around: readonly (readonly [name: string, before: string, after: string])[] = [
  ["alone", "", ""],
  ["in a line", "the key is ", " since May"],
  ["in a CRLF file", "first\r\nkey: ", "\r\nlast\r\n"],
  ["in quotes", '{"key":"', '","next":1}'],
  ["in an assignment", "export KEY=", "\nexport OTHER=1"],
  ["behind letters beyond ASCII", "鍵é", "\nключ"],
  ["behind 300 KiB", "x y ".repeat(75_000), ` ${"z ".repeat(40_000)}`],
];

suite("every rule finds its secret", () => {
  test.each(samples.flatMap(({ rule, value }, i) => around.map((place) => [rule, place[0], i, value, place] as const)))(
    "%s, %s (%i)",
    async (rule, _, __, value, [, before, after]) => {
      const [found, ...more] = await find(before + value + after);
      expect(more).toEqual([]);
      expect(found).toMatchObject({ rule, start: Buffer.byteLength(before), value });
      expect(found?.end).toBe(Buffer.byteLength(before) + value.length);
    },
  );

  test.each(samples.map(({ rule, value }, i) => [rule, i, value] as const))(
    "%s as JSON, twice JSON, percent and UTF-16 (%i)",
    async (rule, _, value) => {
      const json = JSON.stringify({ text: `line\n${value}\nend` });
      const ways = [
        Buffer.from(json),
        Buffer.from(JSON.stringify({ json })),
        Buffer.from(JSON.stringify({ slashes: value }).replaceAll("/", "\\/").replaceAll("=", "\\u003d")),
        Buffer.from(`?a=b&c=${encodeURIComponent(value)}`),
        Buffer.from(`\uFEFFfirst\r\n${value}\r\nlast`, "utf16le"),
        Buffer.from(`\uFEFFfirst\r\n${value}\r\nlast`, "utf16le").swap16(),
      ];
      for (const bytes of ways) expect(await find(bytes)).toMatchObject([{ rule, value }]);
    },
  );

  test.each(samples.map(({ rule, value }, i) => [rule, i, value] as const))("%s in binary (%i)", async (rule, _, value) => {
    const random = seededRandom(7);
    const noise = (n: number) => Buffer.from(Array.from({ length: n }, () => random() * 256));
    const bytes = Buffer.concat([noise(5000), Buffer.from([0x00]), Buffer.from(value), Buffer.from([0x00]), noise(5000)]);
    expect(await find(bytes)).toContainEqual(expect.objectContaining({ rule, start: 5001, value }));
  });
});

test.each(named)(
  "what stands behind a name is found to its last character: $rule, $before",
  async ({ rule, value, before, after }) => {
    const [found, ...more] = await find(`a\n${before}${value}${after}`);
    expect(more).toEqual([]);
    expect(found).toMatchObject({ rule, value: expect.stringContaining(value) as string });
  },
);

test.each(met)("$rule is found where it mostly stands: behind $before", async ({ rule, value, before, after }) => {
  expect(await find(`a\n${before}${value}${after}`)).toMatchObject([{ rule, value }]);
});

suite("nothing is cried over", () => {
  test.each(harmless.map((text) => [text.slice(0, 40), text] as const))("%s", async (_, text) => {
    expect(await find(text)).toEqual([]);
  });

  test("a comment in the file does not switch the gate off", async () => {
    const { value } = samples[6] as (typeof samples)[number];
    expect(await find(`<!-- secretlint-disable -->\n${value} // secretlint-disable-line\n`)).toHaveLength(1);
  });

  test("an address in quotes ends with them", async () => {
    const { value } = samples.find(({ rule }) => rule === "database-connection-string") as (typeof samples)[number];
    expect(await find(`{"url":"${value}","more":true}`)).toMatchObject([{ value }]);
  });

  test("the quick look lets ordinary text pass", () => {
    expect(harmless.filter((text) => mayHold(text)).length).toBeLessThan(harmless.length / 2);
  });
});

const tiny: WindowSizes = { core: 64, before: 16, after: 256 };

test("whatever the bytes are cut into, and wherever a window ends, the same is found", async () => {
  const { value } = samples.find(({ rule }) => rule === "github-token") as (typeof samples)[number];
  for (let before = 0; before < 200; before++) {
    const bytes = Buffer.from(`${"-".repeat(before)} ${value} ${"-".repeat(200)}`);
    for (const piece of [1, 7, 64, 1000]) {
      const found = await find(bytes, tiny, piece);
      expect(found, `${before} before, in pieces of ${piece}`).toMatchObject([
        { start: before + 1, end: before + 1 + value.length },
      ]);
    }
  }
});

test("what a letter touches is no secret, wherever a window begins", async () => {
  const { value } = samples.find(({ rule }) => rule === "github-token") as (typeof samples)[number];
  for (const after of [0, 400])
    for (let before = 1; before < 200; before++) {
      const bytes = Buffer.from(`${"a".repeat(before)}${value}${" ".repeat(after)}`);
      expect(await find(bytes, tiny), `${before} before, ${after} after`).toEqual([]);
    }
});

test("windows of the real size lose nothing at their ends", async () => {
  const { value } = samples.find(({ rule }) => rule === "private-key") as (typeof samples)[number];
  for (const at of [-1, 0, 1, 50, value.length - 1, value.length])
    expect(await find(`${" ".repeat((256 << 10) - at)}${value}${" ".repeat(400_000)}`, undefined, 1 << 20)).toHaveLength(1);
});

suite("masking", () => {
  const seed = anySeed();
  test(`covers what is found and nothing else, and again changes nothing (seed ${seed})`, async () => {
    const random = seededRandom(seed);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    for (let round = 0; round < 60; round++) {
      let text = "";
      const places: [number, number][] = [];
      for (let n = 0; n < 12; n++) {
        text += `${pick(harmless).slice(0, 120)}\r\nüber 記憶: `;
        if (random() < 0.6) continue;
        const { value } = pick(samples);
        places.push([Buffer.byteLength(text), Buffer.byteLength(text + value)]);
        text += `${value}\n`;
      }
      const bytes = Buffer.from(text);
      const sizes = pick([undefined, { core: 500, before: 100, after: 4000 }]);
      const masked = await mask(bytes, sizes, pick([1, 100, 5000]));
      const expected = Buffer.from(bytes);
      for (const [from, to] of places)
        for (let i = from; i < to; i++) if (expected[i] !== 0x0a && expected[i] !== 0x0d) expected[i] = 0x2a;
      expect(masked.toString()).toBe(expected.toString());
      expect((await mask(masked)).equals(masked)).toBe(true);
      expect(await find(masked)).toEqual([]);
    }
  });

  test("keeps UTF-16 what it is", async () => {
    const { value } = samples[5] as (typeof samples)[number];
    const masked = await mask(Buffer.from(`\uFEFFa\r\n${value}\r\nb`, "utf16le"));
    expect(masked.toString("utf16le")).toBe(`\uFEFFa\r\n${"*".repeat(value.length)}\r\nb`);
  });

  test("bytes that hold nothing come out as they went in", async () => {
    const source = sourceOf(harmless.join("\n"));
    const pieces = [];
    for await (const piece of maskedChunks(source.open(), () => true)) pieces.push(piece);
    expect(Buffer.concat(pieces).toString()).toBe(harmless.join("\n"));
  });
});
