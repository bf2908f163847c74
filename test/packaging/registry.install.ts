import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { Consumer } from "./consumer.ts";
import { expectNoSqlite, expectSaves } from "./saves.ts";

const major = Number(process.versions.node.split(".")[0]);
const Manifest = z.object({ version: z.string() });

describe(`the packed package, installed from the registry on Node ${process.versions.node}`, () => {
  let consumer: Consumer;
  beforeEach(() => void (consumer = new Consumer()));
  afterEach(() => consumer.remove());

  const sqlite = () => {
    const file = join(consumer.root, "node_modules/better-sqlite3/package.json");
    return existsSync(file) ? Number.parseInt(Manifest.parse(JSON.parse(readFileSync(file, "utf8"))).version, 10) : undefined;
  };

  it("brings the SQLite that this Node can load, and saves", () => {
    consumer.install([]);
    expect(sqlite()).toBe(major < 22 ? 12 : 13);
    expectSaves(consumer);
  });

  if (major >= 22) {
    it("runs no install script to get there", () => {
      consumer.install(["--ignore-scripts"]);
      expect(sqlite()).toBe(13);
      expectSaves(consumer);
    });

    it("saves when installed by npm 12, which blocks install scripts", () => {
      consumer.install([], ["npx", "--yes", "npm@12"]);
      expectSaves(consumer);
    });
  } else {
    it("names both cures when better-sqlite3 came without its binary", () => {
      consumer.install(["--ignore-scripts"]);
      expect(sqlite()).toBe(12);
      expectNoSqlite(consumer);
    });
  }
});
