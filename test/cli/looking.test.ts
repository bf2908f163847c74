/** `show` and `diff` as processes: bytes go through a pipe as they are, differences as people and programs read them. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, openSync, readFileSync, writeFileSync, closeSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ask, makeRoot, programOf, put, run, start } from "./program.ts";

const options = (root: string, input?: string | Uint8Array) => ({ cwd: root, ...(input === undefined ? {} : { input }) });

/** Saves `versions` of `key`, oldest first; the receipts. */
async function saved(root: string, key: string, ...versions: (string | Uint8Array)[]) {
  const receipts = [];
  for (const content of versions) receipts.push((await ask(["replace", key, "-"], options(root, content))).answer);
  return receipts as unknown as { version: string; sha256: string; timestamp: string }[];
}

/** What a process writes, as bytes. */
function bytesOf(root: string, ...args: string[]): Buffer {
  return execFileSync(process.execPath, [programOf(), ...args], {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: "", AFTERSAVE_NO_BACKGROUND: "1", AFTERSAVE_ROOT: "" },
    maxBuffer: 1 << 28,
  });
}

it("show pipes the bytes of any version exactly, text or not", async () => {
  const root = makeRoot({});
  const binary = Buffer.from(Array.from({ length: 1024 }, (_, n) => n % 256));
  const odd = Buffer.from("\uFEFFno end, \r\n a tab\t, é e\u0301 🙂 \u001b[31m");
  await saved(root, "Meta/a.bin", binary, odd, "");
  expect(bytesOf(root, "show", "Meta/a.bin")).toEqual(Buffer.alloc(0));
  expect(bytesOf(root, "show", "Meta/a.bin@-1")).toEqual(odd);
  expect(bytesOf(root, "show", "Data/Meta/a.bin@-2")).toEqual(binary);
  expect(bytesOf(root, "show", "--quiet", "Meta/a.bin@-2")).toEqual(Buffer.alloc(0));
});

it("show writes much content as it is read, and ends when nobody reads on", async () => {
  const root = makeRoot({});
  const big = Buffer.alloc(40 << 20, "0123456789abcdef\n");
  put(root, "big.txt", big);
  await ask(["replace", "Meta/big.txt", "--file", "big.txt"], options(root));
  expect(bytesOf(root, "show", "Meta/big.txt").equals(big)).toBe(true);
  const child = start(["show", "Meta/big.txt"], options(root));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  child.stdout.destroy();
  expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
});

it("show answers one document with --json: text as text, the rest as base64", async () => {
  const root = makeRoot({});
  const [first, second] = await saved(root, "Meta/a.txt", "é\n", Buffer.from([0xff, 0]));
  const { answer } = await ask(["show", `Meta/a.txt@${first!.version.slice(-6)}`], options(root));
  expect(answer).toEqual({
    file: "Meta/a.txt",
    version: first!.version,
    op: "replace",
    timestamp: first!.timestamp,
    sha256: first!.sha256,
    size: 3,
    content: "é\n",
    redacted: false,
  });
  const now = (await ask(["show", "Meta/a.txt"], options(root))).answer;
  expect([now["version"], now["content"], now["content_base64"]]).toEqual([second!.version, undefined, "/wA="]);
  const then = await ask(["show", "Meta/a.txt", "--at", first!.timestamp], options(root));
  expect([then.answer["content"], then.answer["at"], then.stderr]).toEqual(["é\n", first!.timestamp, ""]);
  const said = await run(["show", "Meta/a.txt", "--at", first!.timestamp], options(root));
  expect([said.stdout, said.stderr]).toEqual(["é\n", `--at: ${first!.timestamp.slice(0, 19).replace("T", " ")} (local time)\n`]);
});

it("show takes what stands behind the last @ for a version, unless a file has that name", async () => {
  const root = makeRoot({});
  await saved(root, "Meta/log@2026", "one\n", "two\n");
  await saved(root, "Meta/me@home.txt", "mine\n");
  expect((await run(["show", "Meta/log@2026"], options(root))).stdout).toBe("two\n");
  expect((await run(["show", "Meta/log@2026@-1"], options(root))).stdout).toBe("one\n");
  expect((await run(["show", "Meta/me@home.txt"], options(root))).stdout).toBe("mine\n");
});

it("where a file has the name of another one's version, that is said, with the way to the version", async () => {
  const root = makeRoot({});
  const [one] = await saved(root, "Meta/x", "one\n", "two\n");
  put(root, "Data/Meta/x@-1", "a file\n");
  await ask(["sweep"], options(root));
  const shown = await run(["show", "Meta/x@-1"], options(root));
  expect(shown.stdout).toBe("a file\n");
  expect(shown.stderr).toMatch(/^note: Meta\/x@-1 is itself a memory file.*aftersave history Meta\/x/);
  expect((await run(["show", `Meta/x@${one!.version}`], options(root))).stdout).toBe("one\n");
});

it("a key is judged without the version that stands behind it", async () => {
  const root = makeRoot({});
  const long = `Meta/${"x".repeat(195)}`;
  const [one] = await saved(root, long, "one\n", "two\n");
  expect(await run(["show", `${long}@-1`], options(root))).toMatchObject({ code: 0, stdout: "one\n", stderr: "" });
  expect((await run(["blame", `${long}@${one!.version}`], options(root))).code).toBe(0);
  const reserved = (await ask(["show", "con.txt@-1"], options(root))).answer.error;
  expect([reserved?.code, reserved?.message]).toEqual(["E_KEY_NAME", expect.not.stringContaining("@")]);
  await saved(root, "Meta/x", "one\n");
  for (const short of ["1G2", "0", "1", "", "-"]) {
    const { code, answer } = await ask(["show", `Meta/x@${short}`], options(root));
    expect([code, answer.error?.code]).toEqual([2, "E_VERSION"]);
    expect(answer.error?.message).toContain("at least four characters");
  }
});

it.each([
  [["show", "Meta/none.txt"], 1, "E_NOT_FOUND"],
  [["show", "Meta/a.txt@ZZZZ"], 2, "E_VERSION"],
  [["show", "Meta/a.txt@-9"], 2, "E_VERSION"],
  [["show", "Meta/a.txt@-0", "--at", "now"], 2, "E_USAGE"],
  [["show", "Meta/a.txt", "--at", "2001-01-01T00:00:00Z"], 1, "E_NOT_FOUND"],
  [["show", "Meta/a.txt", "--at", "soonish"], 2, "E_USAGE"],
  [["show"], 2, "E_USAGE"],
  [["diff"], 2, "E_USAGE"],
  [["diff", "Meta/none.txt"], 1, "E_NOT_FOUND"],
  [["diff", "Meta/a.txt", "-1", "-0", "-1"], 2, "E_USAGE"],
  [["diff", "Meta/a.txt@-1", "-0", "-1"], 2, "E_USAGE"],
  [["diff", "Meta/a.txt", "--by", "path"], 2, "E_USAGE"],
  [["diff", "Meta/a.txt", "--by", "letter"], 2, "E_USAGE"],
  [["diff", "Meta/a.txt", "--context", "many"], 2, "E_USAGE"],
  [["diff", "--as-of", "yesterday", "Meta", "-1"], 2, "E_USAGE"],
  [["diff", "--as-of", "yesterday", "None"], 1, "E_NOT_FOUND"],
])("%j ends with %i", async (args, exit, code) => {
  const root = makeRoot({});
  await saved(root, "Meta/a.txt", "one\n", "two\n");
  const { code: ended, answer } = await ask(args, options(root));
  expect([ended, answer.error?.code]).toEqual([exit, code]);
});

it("a file that was archived says since when, and how to see it", async () => {
  const root = makeRoot({});
  const version = (await saved(root, "Meta/a.txt", "one\n"))[0]!.version;
  await run(["archive", "Meta/a.txt"], options(root));
  const { code, stdout, stderr } = await run(["show", "Meta/a.txt"], options(root));
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/Meta\/a\.txt holds nothing now: it was archived at \d{4}-/);
  expect(stderr).toContain(`aftersave show Meta/a.txt@${version}`);
  expect((await run(["show", `Meta/a.txt@${version}`], options(root))).stdout).toBe("one\n");
});

it("diff by line is a patch that `git apply` takes", async () => {
  const root = makeRoot({});
  const many = Array.from({ length: 40 }, (_, n) => `line ${n}\n`);
  const versions = [
    many.join(""),
    many.with(0, "first\n").toSpliced(20, 2).with(30, "a\r\n").concat("no end").join(""),
    many.toSpliced(5, 0, "put in\n", "\n").join("").trimEnd(),
    "only this",
  ];
  await saved(root, "Meta/a.txt", ...versions);
  const work = makeRoot();
  for (const [n, after] of versions.entries()) {
    if (n === 0) continue;
    const before = versions[n - 1]!;
    const [a, b] = [`-${versions.length - n}`, `-${versions.length - 1 - n}`];
    const { stdout, code } = await run(["diff", "Meta/a.txt", a, b, "--by", "line"], options(root));
    expect(code).toBe(0);
    put(work, "Meta/a.txt", before);
    const applied = spawnSync("git", ["apply", "-p0", "--whitespace=nowarn", "-"], {
      cwd: work,
      input: stdout,
      encoding: "utf8",
    });
    expect(applied.stderr).toBe("");
    expect(readFileSync(join(work, "Meta/a.txt"), "utf8")).toBe(after);
  }
});

it("diff marks words as git does in a pipe, and never colours there", async () => {
  const root = makeRoot({});
  await saved(root, "Meta/a.md", "The cat sat.\nKept.\n", "The dog sat.\nKept.\n\nMore");
  const { stdout, stderr, code } = await run(["diff", "Meta/a.md"], options(root));
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout.split("\n").slice(2)).toEqual(["@@ -1,2 +1,4 @@", "The [-cat-]{+dog+} sat.", "Kept.", "{++}", "{+More+}", ""]);
  const same = await run(["diff", "Meta/a.md", "@-0", "@-0"], options(root));
  expect([same.code, same.stdout]).toEqual([0, ""]);
  expect(same.stderr).toContain("holds the same in both versions");
});

it("diff names JSON paths, and what is no text by hash", async () => {
  const root = makeRoot({});
  await saved(root, "s.json", '{"a":1,"l":[1,2],"x":null}', '{"a":2,"l":[0,1,2]}');
  expect((await run(["diff", "s.json"], options(root))).stdout.split("\n").slice(2)).toEqual([
    "~ /a: 1 → 2",
    "+ /l/0: 0",
    "- /x: null",
    "",
  ]);
  const { answer } = await ask(["diff", "s.json"], options(root));
  expect([answer["by"], answer["added"], answer["removed"]]).toEqual(["path", 2, 2]);
  const [one, two] = await saved(root, "x.bin", Buffer.from([0]), Buffer.from([0, 1]));
  const { stdout } = await run(["diff", "x.bin"], options(root));
  expect(stdout).toContain(`- 1 byte, sha256 ${one!.sha256}`);
  expect(stdout).toContain(`+ 2 bytes, sha256 ${two!.sha256}`);
});

it("diff --as-of lists what is different from a moment", async () => {
  const root = makeRoot({});
  const timestamp = (await saved(root, "Meta/a.txt", "one\n"))[0]!.timestamp;
  expect((await run(["diff", "--as-of", timestamp], options(root))).stdout).toMatch(/^Nothing is different/);
  await saved(root, "Meta/a.txt", "one\ntwo\n");
  await saved(root, "Core/b.txt", "b\n");
  const { stdout } = await run(["diff", "--as-of", timestamp], options(root));
  expect(stdout).toMatch(
    /^added {4}Core\/b\.txt {2}\+1 -0\nchanged {2}Meta\/a\.txt {2}\+1 -0\n2 of 2 files are different from .*: \+2 -0 lines\n$/,
  );
  const { answer } = await ask(["diff", "--as-of", timestamp, "Data/Meta/"], options(root));
  expect(answer).toMatchObject({
    as_of: timestamp,
    prefix: "Meta",
    compared: 1,
    files: [{ file: "Meta/a.txt", change: "changed", added: 1 }],
  });
});

it("blame and diff tell of more lines than a call can have arguments", async () => {
  const root = makeRoot({});
  const lines = (of: string) => Array.from({ length: 130_000 }, (_, n) => `${of} ${n}\n`).join("");
  await saved(root, "Meta/long", lines("line"), lines("other") + lines("line").slice(7));
  const blame = await run(["blame", "Meta/long"], options(root));
  expect([blame.code, blame.stderr, blame.stdout.split("\n").length]).toEqual([0, "", 260_000]);
  expect((await run(["diff", "Meta/long", "--by", "word"], options(root))).stderr).not.toContain("call stack");
});

const script = ["/usr/bin/script", "/bin/script"].find((path) => existsSync(path));

it.skipIf(script === undefined || process.platform !== "linux")(
  "on a terminal, show keeps what is no plain text from it, and diff shows control characters as text",
  async () => {
    const root = makeRoot({});
    await saved(root, "Meta/a.txt", "plain\n", "\u001b[2Jgone\u009b1A\u202E\u2067\u007f\n");
    const onTerminal = (...args: string[]) => {
      const out = join(root, "typescript");
      writeFileSync(out, "");
      const nothing = openSync("/dev/null", "r");
      const command = ["exec", process.execPath, programOf(), ...args]
        .map((part) => (part === "exec" ? part : `'${part}'`))
        .join(" ");
      spawnSync(script!, ["-qec", command, out], {
        cwd: root,
        env: { ...process.env, NODE_OPTIONS: "", AFTERSAVE_NO_BACKGROUND: "1", AFTERSAVE_ROOT: "", SHELL: "/bin/sh" },
        stdio: [nothing, "ignore", "ignore"],
      });
      closeSync(nothing);
      return readFileSync(out, "utf8");
    };
    expect(onTerminal("show", "Meta/a.txt@-1")).toContain("plain\r\n");
    const refused = onTerminal("show", "Meta/a.txt");
    expect(refused).toMatch(/is no plain\s+text, and\s+stdout is a\s+terminal/); // wrapped
    expect(refused).not.toContain("\u001b[2J");
    const diff = onTerminal("diff", "Meta/a.txt");
    expect(diff).toContain("^[[2Jgone<U+009B>1A<U+202E><U+2067>^?");
    expect(diff).not.toMatch(/[\u007f-\u009f\u202E\u2067]/);
    const blame = onTerminal("blame", "Meta/a.txt");
    expect(blame).toContain("\uFFFD[2Jgone\uFFFD1A\uFFFD\uFFFD\uFFFD");
    expect(diff).not.toContain("\u001b[2J");
  },
);
