import { spawnSync } from "node:child_process";
import { cpSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { Consumer, saveThroughLibrary } from "./consumer.ts";
import { expectNoSqlite, expectSaves } from "./saves.ts";

const hasNodeSqlite = Number(process.versions.node.split(".")[0]) >= 22;

/** better-sqlite3 as this project has it, compiled for the Node that installed the project. */
const native = ["better-sqlite3", "bindings", "file-uri-to-path"];
const nativeLoads = spawnSync(process.execPath, ["--eval", "new (require('better-sqlite3'))(':memory:')"]).status === 0;

describe("the packed package, installed without the network", () => {
  let consumer: Consumer;
  beforeEach(() => {
    consumer = new Consumer();
    consumer.install(["--offline", "--omit=optional"]);
  });
  afterEach(() => consumer.remove());

  it("has no dependency of its own", () => {
    const { stdout } = consumer.run("npm", "ls", "--all", "--parseable");
    expect(stdout.trim().split("\n")).toHaveLength(2);
  });

  if (hasNodeSqlite) it("saves and mirrors with nothing but node:sqlite", () => expectSaves(consumer));
  else it("names both cures where no SQLite is to be had", () => expectNoSqlite(consumer));

  // Compiled for another Node it cannot be loaded: where node:sqlite exists, that is used instead.
  if (hasNodeSqlite || nativeLoads)
    it("saves and mirrors beside this project's better-sqlite3", () => {
      for (const name of native.filter((folder) => existsSync(join("node_modules", folder))))
        cpSync(join("node_modules", name), join(consumer.root, "node_modules", name), { recursive: true });
      expectSaves(consumer);
    });

  it("is typed on its own: a strict project needs no types but Node's", () => {
    cpSync("node_modules/@types/node", join(consumer.root, "node_modules/@types/node"), { recursive: true });
    cpSync("node_modules/undici-types", join(consumer.root, "node_modules/undici-types"), { recursive: true });
    writeFileSync(
      join(consumer.root, "consumer.ts"),
      `${saveThroughLibrary}\nimport * as testing from "aftersave/testing";\nexport const all: object = testing;\n`,
    );
    const options = [
      "--strict",
      "--noEmit",
      "--skipLibCheck",
      "false",
      "--module",
      "nodenext",
      "--target",
      "es2023",
      "--types",
      "node",
    ];
    const ended = consumer.run(
      process.execPath,
      join(process.cwd(), "node_modules/typescript/bin/tsc"),
      ...options,
      "consumer.ts",
    );
    expect(ended).toMatchObject({ code: 0, stdout: "" });
  });

  it("keeps what is internal to itself", () => {
    const ended = consumer.module('import "aftersave/dist/index.js";');
    expect(ended.stderr).toContain("ERR_PACKAGE_PATH_NOT_EXPORTED");
    expect(inject("packed").map(({ path }) => path)).toContain("dist/index.js");
  });
});
