/** A memory root that the program of schema 2 left comes into this version whole. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { SCHEMA, schemaOf } from "../../src/state/schema.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { STATE_FILE } from "../../src/state/state.ts";
import { freshRoots } from "../memory/root.ts";
import { freshFolder, openFresh } from "./folder.ts";

const left = JSON.parse(readFileSync(join(import.meta.dirname, "schema-2.json"), "utf8")) as {
  files: Record<string, string>;
  sql: string[];
};
const { open } = freshRoots();
const shape = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY type, name";

function leftBehind(): string {
  const root = freshFolder();
  for (const [path, text] of Object.entries(left.files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const database = openDatabase(join(root, ".aftersave", STATE_FILE), 0);
  database.exec(left.sql.join("\n"));
  expect(schemaOf(database)).toBe(2);
  database.close();
  return root;
}

describe("a memory root of schema 2", () => {
  it("is one of this version afterwards, of the very shape of a new one, whoever opens it first", async () => {
    const root = leftBehind();
    const states = await Promise.all([1, 2, 3].map(() => openFresh(join(root, ".aftersave"))));
    for (const state of states) {
      expect(await state.check()).toEqual([]);
      expect(await state.saves.last()).toMatchObject({ place: 8, version: "01M7YF3EVM5JH2DNGMKMNVGHZ2" });
    }
    const fresh = freshFolder();
    await openFresh(fresh);
    const [old, made] = [join(root, ".aftersave"), fresh].map((folder) => openDatabase(join(folder, STATE_FILE), 0));
    try {
      expect(old && schemaOf(old)).toBe(SCHEMA);
      expect(old?.prepare(shape).all()).toEqual(made?.prepare(shape).all());
      for (const row of old?.prepare(shape).all() ?? []) {
        const columns = `SELECT name, type, "notnull", pk FROM pragma_table_info('${String(row["name"])}')`;
        expect(old?.prepare(columns).all()).toEqual(made?.prepare(columns).all());
      }
    } finally {
      for (const database of [old, made]) database?.close();
    }
  });

  it("shows every version that it had, goes on with its chain, and takes back an old save", async () => {
    const root = leftBehind();
    const memory = await open(root);
    const text = async (key: string, version: string) => {
      let all = "";
      for await (const piece of (await memory.show(key, { version })).open()) all += Buffer.from(piece).toString();
      return all;
    };
    expect(await text("Meta/A.txt", "01M7YF351R0GH3CNFF1C2PM9FH")).toBe("# A\none\n");
    expect(await text("Meta/A.txt", "01M7YF37QCAQJ70VJW3ZSNYCXR")).toBe("# A\none\ntwo\n");
    expect(await text("Meta/A.txt", "01M7YF38TYEAVG2WCZD8BF6F94")).toBe("# A\none\ntwo\nthree\n");
    expect(await text("Meta/A.txt", "01M7YF39TQX6MK9YMD64JEK6XV")).toBe("# A\nanew\n");
    expect(await text("Meta/A.txt", "01M7YF3B6CFGQXJ04PC46HCF1H")).toBe("# A\nanew\nfour\n");
    expect(await text("Core/Rules.md", "01M7YF3CBTJ56JDXF80TTZMKAB")).toBe("be kind\n");
    expect(await text("Core/Rules.md", "01M7YF3EVM5JH2DNGMKMNVGHZ2")).toBe("be kinder\n");
    expect(await memory.flush()).toEqual({ uploaded: 1, skipped: 0, failed: 0, pending: 0 });
    await memory.restore({ file: "Meta/A.txt", version: "01M7YF38TYEAVG2WCZD8BF6F94" }, {});
    expect(readFileSync(join(root, "Data/Meta/A.txt"), "utf8")).toBe("# A\none\ntwo\nthree\n");
    expect(await memory.verify()).toMatchObject({ ok: true });
  });
});
