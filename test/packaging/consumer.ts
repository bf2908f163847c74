import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { inject } from "vitest";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The npm that belongs to nothing: whichever is on the path, run by the Node that runs this test. */
const environment = {
  ...process.env,
  PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"]}`,
  AFTERSAVE_NO_BACKGROUND: "1",
  NODE_OPTIONS: "",
};

/** An empty project, without a lock file, that has installed the packed package. */
export class Consumer {
  readonly root = mkdtempSync(join(tmpdir(), "aftersave-consumer-"));

  constructor() {
    writeFileSync(join(this.root, "package.json"), '{ "name": "consumer", "private": true, "type": "module" }\n');
  }

  run(command: string, ...args: string[]): Ended {
    const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: this.root, env: environment, encoding: "utf8" });
    if (error !== undefined) throw error;
    return { code: status, stdout, stderr };
  }

  /** Installs the tarball with npm, or with another command that takes npm's arguments. */
  install(options: string[], command: string[] = ["npm"]): void {
    const [program = "npm", ...first] = command;
    const ended = this.run(program, ...first, "install", "--no-audit", "--no-fund", ...options, inject("tarball"));
    if (ended.code !== 0) throw new Error(`npm install ended with ${ended.code}\n${ended.stdout}\n${ended.stderr}`);
  }

  /** A binary of the package, as npm linked it. */
  bin(name: "aftersave" | "sync-file", ...args: string[]): Ended {
    return this.run(join("node_modules", ".bin", name), ...args);
  }

  /** Runs `code` as a module of the project. */
  module(code: string): Ended {
    writeFileSync(join(this.root, "consumer.js"), code);
    return this.run(process.execPath, "consumer.js");
  }

  /** A memory root in the project, made by the package's own `init`. */
  init(): void {
    mkdirSync(join(this.root, "memory"));
    const ended = this.bin("aftersave", "init", "memory");
    if (ended.code !== 0) throw new Error(`init ended with ${ended.code}\n${ended.stderr}`);
  }

  remove(): void {
    rmSync(this.root, { recursive: true });
  }
}

/** Saves through the library and prints the receipt and the result of the upload as one JSON document. */
export const saveThroughLibrary = `
import { openMemory, driveUpload } from "aftersave";
const memory = await openMemory({ root: "memory" });
const receipt = await memory.append("Meta/Library.txt", "from the library\\n", { chat_name: "packed" });
await memory.close();
const result = await driveUpload("Data/Meta/Library.txt", { chat_name: "packed", tags: [] }, { root: "memory" });
console.log(JSON.stringify({ receipt, result }));
`;
