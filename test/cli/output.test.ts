/** What stdout gets: JSON that a terminal shows as it is, and nothing left behind by a reader who is slow. */
import { getEventListeners } from "node:events";
import { afterEach, expect, it, vi } from "vitest";
import { createOutput } from "../../src/cli/output.ts";

const isTTY = Object.getOwnPropertyDescriptor(process.stdout, "isTTY");
afterEach(() => {
  vi.restoreAllMocks();
  if (isTTY) Object.defineProperty(process.stdout, "isTTY", isTTY);
  else Reflect.deleteProperty(process.stdout, "isTTY");
});

/** Everything written to stdout; `room` is what each write answers. */
function watched(room: boolean): string[] {
  const written: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => (written.push(String(text)), room));
  return written;
}

const units = [...Array.from({ length: 0x2100 }, (_, n) => n), 0xfeff, 0xd800];
const VALUE = { "name\u009b\u202e": units.map((unit) => String.fromCharCode(unit)).join(""), list: ["\u2066é🙂"] };

it.each([true, false])(
  "JSON holds no character that a terminal obeys or hides behind, and is the same value (terminal: %s)",
  async (terminal) => {
    Object.defineProperty(process.stdout, "isTTY", { value: terminal, configurable: true });
    const written = watched(true);
    const out = createOutput(true, false);
    out.answer(VALUE, () => "");
    await out.line(VALUE);
    expect(written.map((text) => JSON.parse(text) as unknown)).toEqual([VALUE, VALUE]);
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    for (const text of written) expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|\p{Bidi_Control}/u);
    expect(written[1]).toContain("é🙂");
  },
);

it("a reader who is slow again and again leaves no listener behind", async () => {
  watched(false);
  const out = createOutput(true, false);
  const before = process.stdout.listenerCount("drain");
  for (let n = 0; n < 20; n++) {
    const written = out.line({ n });
    process.stdout.emit("drain");
    await written;
  }
  expect([getEventListeners(out.closed, "abort").length, process.stdout.listenerCount("drain") - before]).toEqual([0, 0]);
});
