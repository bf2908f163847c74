/** Another program writes at the worst moments of a save. */
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { describe, expect, it, vi } from "vitest";
import type { appendDurably as AppendDurably } from "../../src/memory/durable.ts";
import type { Step } from "../../src/memory/journal.ts";
import { codeOf, freshRoots, sha256 } from "./root.ts";

/** What another program does around the one write of an append. */
const stranger = vi.hoisted(() => ({
  around: undefined as
    undefined | ((path: string, ours: Uint8Array, write: typeof AppendDurably) => ReturnType<typeof AppendDurably>),
}));

vi.mock(import("../../src/memory/durable.ts"), async (original) => {
  const durable = await original();
  return {
    ...durable,
    appendDurably: (path, bytes) => {
      const { around } = stranger;
      stranger.around = undefined;
      return around ? around(path, bytes, durable.appendDurably) : durable.appendDurably(path, bytes);
    },
  };
});

const roots = freshRoots();
const KEY = "Meta/notes.txt";

/** A memory whose next save meets `stranger` at `step`, once. */
async function withStranger() {
  let next: { step: Step; stranger: () => void } | undefined;
  const root = await roots.fresh({
    onStep: (step) => {
      if (next?.step !== step) return;
      const { stranger } = next;
      next = undefined;
      stranger();
    },
  });
  return { ...root, at: (step: Step, stranger: () => void) => (next = { step, stranger }) };
}

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

describe("a file that someone changes between our look and our write", () => {
  const strangers = {
    overwrites: (path: string) => writeFileSync(path, "theirs"),
    "overwrites with as many bytes": (path: string) => writeFileSync(path, "THE OLD"),
    "overwrites with as many bytes and puts the time back": (path: string) => {
      const { atime, mtime } = statSync(path);
      writeFileSync(path, "THE OLD");
      utimesSync(path, atime, mtime);
    },
    truncates: (path: string) => truncateSync(path, 3),
    "replaces by rename": (path: string) => {
      writeFileSync(`${path}.new`, "THE OLD");
      renameSync(`${path}.new`, path);
    },
  };
  const saves = ["begun", "archived", "headed"] as const;

  for (const [what, stranger] of Object.entries(strangers)) {
    it.each(saves)(`replace keeps what someone ${what} (at %s)`, async (step) => {
      const { memory, at, data, read, archives, root } = await withStranger();
      await memory.replace(KEY, "the old");
      let theirs = "";
      at(step, () => {
        stranger(data(KEY));
        theirs = read(KEY);
      });
      const receipt = await memory.replace(KEY, "the new");
      expect(read(KEY)).toBe("the new");
      expect(receipt.prev_sha256).toBe(sha256(theirs));
      const kept = archives().map((name) => readFileSync(`${root}/Data/Archive/${name}`, "utf8"));
      expect(kept.toSorted()).toEqual(["the old", theirs].toSorted());
    });

    it.each(["begun", "headed"] as const)(`append goes behind what someone ${what} (at %s)`, async (step) => {
      const { memory, at, data, read, archives, root } = await withStranger();
      await memory.replace(KEY, "the old");
      let theirs = "";
      at(step, () => {
        stranger(data(KEY));
        theirs = read(KEY);
      });
      const receipt = await memory.append(KEY, " and more");
      expect(read(KEY)).toBe(`${theirs} and more`);
      expect(receipt.sha256).toBe(sha256(`${theirs} and more`));
      const kept = archives().map((name) => readFileSync(`${root}/Data/Archive/${name}`, "utf8"));
      expect(kept).toEqual(["the old"]);
    });
  }

  it("a stream that is long in coming does not hide what someone writes meanwhile", async () => {
    const { memory, data, read, archives, root } = await withStranger();
    await memory.replace(KEY, "the old");
    async function* slow() {
      yield Buffer.from("the ");
      writeFileSync(data(KEY), "theirs.");
      yield Buffer.from("new");
    }
    const receipt = await memory.replace(KEY, slow());
    expect(read(KEY)).toBe("the new");
    expect(receipt.prev_sha256).toBe(sha256("theirs."));
    const kept = archives().map((name) => readFileSync(`${root}/Data/Archive/${name}`, "utf8"));
    expect(kept.toSorted()).toEqual(["the old", "theirs."]);
    async function* slowAppend() {
      yield Buffer.from(" and ");
      writeFileSync(data(KEY), "as long");
      yield Buffer.from("more");
    }
    await memory.append(KEY, slowAppend());
    expect(read(KEY)).toBe("as long and more");
    expect((await memory.sweep()).changed).toEqual([]);
  });

  it.each(["begun", "archived", "headed"] as const)(
    "a streamed replace is whole also when it must start over (at %s)",
    async (step) => {
      const { memory, at, data, read } = await withStranger();
      await memory.replace(KEY, "the old");
      at(step, () => writeFileSync(data(KEY), "theirs"));
      const receipt = await memory.replace(KEY, pieces("streamed ", "content"));
      expect(receipt).toMatchObject({ op: "replace", sha256: sha256("streamed content"), unchanged: false });
      expect(read(KEY)).toBe("streamed content");
    },
  );

  it.each(["begun", "headed"] as const)("a streamed append is whole also when it must start over (at %s)", async (step) => {
    const { memory, at, data, read } = await withStranger();
    await memory.replace(KEY, "the old");
    at(step, () => writeFileSync(data(KEY), "theirs"));
    const receipt = await memory.append(KEY, pieces(" and", " more"));
    expect(receipt).toMatchObject({ op: "append", sha256: sha256("theirs and more"), unchanged: false });
    expect(read(KEY)).toBe("theirs and more");
  });

  it("archive keeps both the old and what someone wrote", async () => {
    const { memory, at, data, there, archives, root } = await withStranger();
    await memory.replace(KEY, "the old");
    at("headed", () => undefined);
    at("archived", () => writeFileSync(data(KEY), "theirs"));
    await memory.archive(KEY);
    expect(there(KEY)).toBe(false);
    const kept = archives().map((name) => readFileSync(`${root}/Data/Archive/${name}`, "utf8"));
    expect(kept.toSorted()).toEqual(["the old", "theirs"]);
  });

  it("a first save does not overwrite a file that someone makes meanwhile", async () => {
    const { memory, at, data, read, archives, root } = await withStranger();
    await memory.replace("Meta/other.txt", "makes the folder");
    at("headed", () => writeFileSync(data(KEY), "theirs"));
    await memory.replace(KEY, "ours");
    expect(read(KEY)).toBe("ours");
    expect(archives().map((name) => readFileSync(`${root}/Data/Archive/${name}`, "utf8"))).toEqual(["theirs"]);
  });

  it("a precondition is judged again after someone changed the file", async () => {
    const { memory, at, data, read } = await withStranger();
    const { sha256: hash } = await memory.replace(KEY, "the old");
    at("headed", () => writeFileSync(data(KEY), "theirs"));
    const error: unknown = await memory.replace(KEY, "the new", {}, { if_sha256: hash }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "E_STALE", details: { sha256: sha256("theirs") } });
    expect(read(KEY)).toBe("theirs");
  });

  it("removal in between: the append begins a new file, the old one is archived", async () => {
    const { memory, at, data, read, archives } = await withStranger();
    await memory.replace(KEY, "the old");
    at("headed", () => unlinkSync(data(KEY)));
    await memory.append(KEY, "fresh");
    expect(read(KEY)).toBe("fresh");
    expect(archives()).toHaveLength(1);
  });

  it("a folder put in the way stops this save and no other", async () => {
    const { memory, at, data, read } = await withStranger();
    await memory.replace(KEY, "the old");
    at("begun", () => {
      rmSync(data(KEY));
      mkdirSync(data(KEY));
    });
    expect(await codeOf(memory.replace(KEY, "the new"))).toBe("E_KEY_FOLDER");
    await memory.replace("Meta/b.txt", "well");
    expect(read("Meta/b.txt")).toBe("well");
    rmSync(data(KEY), { recursive: true });
    await memory.replace(KEY, "again");
    expect(read(KEY)).toBe("again");
  });
});

describe("bytes that another program appends while we append", () => {
  it("behind ours: ours is the append, theirs is external at the next look", async () => {
    const { memory, data, read, root } = await roots.fresh();
    await memory.append(KEY, "one\n");
    const other = await roots.open(root, {
      onStep: (step) => {
        if (step === "written") appendFileSync(data(KEY), "theirs\n");
      },
    });
    const receipt = await other.append(KEY, "two\n");
    expect(receipt).toMatchObject({ op: "append", sha256: sha256("one\ntwo\n") });
    const swept = await memory.sweep();
    expect(swept.changed).toMatchObject([{ op: "external", sha256: sha256("one\ntwo\ntheirs\n"), archived_as: null }]);
    expect(read(KEY)).toBe("one\ntwo\ntheirs\n");
  });

  it.each([
    ["in front of ours", "theirs\n", "", "begin\ntheirs\nours\n", "append"],
    ["behind ours", "", "theirs\n", "begin\nours\n", "append"],
    ["on both sides of ours", "theirs\n", "theirs too\n", "", "E_INTERLEAVED"],
  ])("during our very write, %s: every byte is there once, and versioned", async (_, front, behind, content, answer) => {
    const { memory, data, read, archives } = await roots.fresh();
    await memory.append(KEY, "begin\n");
    stranger.around = (path, ours, write) => {
      appendFileSync(path, front);
      return write(path, Buffer.concat([ours, Buffer.from(behind)]));
    };
    const receipt: unknown = await memory.append(KEY, "ours\n").catch((error: unknown) => error);
    if (answer === "append") expect(receipt).toMatchObject({ op: "append", sha256: sha256(content) });
    else expect(receipt).toMatchObject({ code: "E_INTERLEAVED", hint: expect.stringContaining("bytes of both are in it") });
    expect(read(KEY)).toBe(`begin\n${front}ours\n${behind}`);
    await memory.sweep();
    expect(await memory.saved(KEY)).toMatchObject({ unchanged: true, sha256: sha256(`begin\n${front}ours\n${behind}`) });
    expect(archives()).toEqual([]);
    await memory.append(KEY, "next\n");
    expect(read(KEY)).toBe(`begin\n${front}ours\n${behind}next\n`);
    expect(data(KEY)).not.toBe("");
  });

  it("a file replaced under our write by one as long is noticed all the same", async () => {
    const { memory, read, root, archives } = await roots.fresh();
    await memory.append(KEY, "begin\n");
    stranger.around = (path, ours, write) => {
      writeFileSync(`${path}.new`, "BEGIN\n");
      renameSync(`${path}.new`, path);
      return write(path, ours);
    };
    expect(await codeOf(memory.append(KEY, "ours\n"))).toBe("E_INTERLEAVED");
    expect(archives().map((name) => readFileSync(`${root}/Data/Archive/${name}`, "utf8"))).toEqual(["begin\n"]);
    expect(await memory.saved(KEY)).toMatchObject({ unchanged: true, sha256: sha256("BEGIN\nours\n") });
    expect(read(KEY)).toBe("BEGIN\nours\n");
  });

  it("a file replaced under our write keeps what was accepted, and both programs' bytes", async () => {
    const { memory, read, root, archives } = await roots.fresh();
    await memory.append(KEY, "begin\n");
    stranger.around = (path, ours, write) => {
      writeFileSync(`${path}.new`, "their own file\n");
      renameSync(`${path}.new`, path);
      return write(path, ours);
    };
    expect(await codeOf(memory.append(KEY, "ours\n"))).toBe("E_INTERLEAVED");
    expect(read(KEY)).toBe("their own file\nours\n");
    expect(archives().map((name) => readFileSync(`${root}/Data/Archive/${name}`, "utf8"))).toEqual(["begin\n"]);
    expect((await memory.sweep()).changed).toEqual([]);
  });

  it.each(["begun", "archived", "headed", "written", "accepted", "cleaned"] as const)(
    "at %s of every save: no byte is lost or doubled",
    async (step) => {
      let n = 0;
      let due = false;
      const { memory, data, read } = await roots.fresh({
        onStep: (now) => {
          if (!due || now !== step) return;
          due = false;
          appendFileSync(data(KEY), `theirs ${n}\n`);
        },
      });
      await memory.append(KEY, "begin\n");
      const expected = ["begin"];
      for (n = 1; n <= 5; n++) {
        due = true;
        if (n === 3) await memory.replace(KEY, `${read(KEY)}ours 3\n`);
        else await memory.append(KEY, `ours ${n}\n`);
        expected.push(`ours ${n}`, ...(due ? [] : [`theirs ${n}`]));
      }
      await memory.sweep();
      const lines = read(KEY).trimEnd().split("\n");
      // what someone appended while we replaced the whole file is in the archive; everything else is in the file, once
      expect(new Set(lines).size).toBe(lines.length);
      expect(lines.filter((line) => line !== "theirs 3").toSorted()).toEqual(
        expected.filter((line) => line !== "theirs 3").toSorted(),
      );
      expect((await memory.sweep()).changed).toEqual([]);
    },
  );
});
