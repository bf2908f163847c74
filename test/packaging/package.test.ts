import { readFileSync, statSync } from "node:fs";
import { isBuiltin } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, inject, it } from "vitest";
import { z } from "zod";

const Manifest = z.object({
  engines: z.object({ node: z.string() }),
  exports: z.record(z.string(), z.union([z.string(), z.record(z.string(), z.string())])),
  bin: z.record(z.string(), z.string()),
  scripts: z.record(z.string(), z.string()),
  dependencies: z.undefined().optional(),
  peerDependencies: z.record(z.string(), z.string()),
  peerDependenciesMeta: z.record(z.string(), z.object({ optional: z.literal(true) })),
  optionalDependencies: z.record(z.string(), z.string()),
});

const folder = inject("packageFolder");
const packed = inject("packed");
const text = (path: string) => readFileSync(join(folder, path), "utf8");
const manifest = Manifest.parse(JSON.parse(text("package.json")));
/** What is not in the bundle. */
const own = ["better-sqlite3", ...Object.keys(manifest.peerDependencies)];
const scripts = packed.map(({ path }) => path).filter((path) => path.endsWith(".js"));

describe("what users install", () => {
  it("runs no script of ours at installation", () => {
    const atInstall = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"];
    expect(Object.keys(manifest.scripts).filter((name) => atInstall.includes(name))).toEqual([]);
  });

  it("asks for the Nodes that are tested, and for nothing but SQLite", () => {
    expect(manifest.engines.node).toBe("^20.19.0 || ^22.14.0 || >=24.0.0");
    expect(Object.keys(manifest.optionalDependencies)).toEqual(["better-sqlite3"]);
  });

  it("installs no provider's package, and names those that a target may need", () => {
    expect(Object.keys(manifest.peerDependencies).toSorted()).toEqual(["@aws-sdk/client-s3", "@octokit/core", "webdav"]);
    expect(Object.keys(manifest.peerDependenciesMeta).toSorted()).toEqual(Object.keys(manifest.peerDependencies).toSorted());
  });

  it("holds every file that package.json names", () => {
    const named = Object.values(manifest.exports).flatMap((entry) => (typeof entry === "string" ? entry : Object.values(entry)));
    const paths = [...named.map((path) => path.replace("./", "")), ...Object.values(manifest.bin)];
    expect(packed.map(({ path }) => path)).toEqual(expect.arrayContaining(paths));
  });

  it("holds dist, the licence, the changelog and the README, and nothing else", () => {
    const rest = packed.map(({ path }) => path).filter((path) => !path.startsWith("dist/"));
    expect(rest.toSorted()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "package.json"]);
    expect(packed.filter(({ path }) => !/\.(js|d\.ts|txt|md|json)$|^LICENSE$/.test(path))).toEqual([]);
  });

  it("is at most 5 MB without native parts", () => {
    expect(packed.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(5_000_000);
  });

  it.each(Object.entries(manifest.bin))("has %s as a program", (_name, path) => {
    expect(text(path)).toMatch(/^#!\/usr\/bin\/env node\n/);
    expect(statSync(join(folder, path)).mode & 0o111).toBe(0o111);
  });

  it("imports nothing that users would have to install, but SQLite and what a target needs", () => {
    const foreign = scripts.flatMap((path) =>
      ts
        .preProcessFile(text(path), true, true)
        .importedFiles.map(({ fileName }) => fileName)
        // "exports" is no package: a UMD header's word for what the module itself gives
        .filter((name) => !name.startsWith(".") && !isBuiltin(name) && name !== "node:sqlite" && name !== "exports")
        .map((name) => `${name} in ${path}`),
    );
    expect(foreign.filter((name) => !own.some((known) => name.startsWith(known)))).toEqual([]);
  });

  it("names no path of the machine that built it", () => {
    const places = [process.cwd(), homedir(), "node_modules/"].filter((place) => place !== "/");
    const found = packed
      .filter(({ path }) => path.startsWith("dist/"))
      .flatMap(({ path }) => places.filter((place) => text(path).includes(place)).map((place) => `${place} in ${path}`));
    expect(found).toEqual([]);
  });
});

describe("the licences that are shipped", () => {
  const [, ...sections] = text("dist/THIRD-PARTY-LICENSES.txt").split(/^(?:-{80}\n\n)?(?=\S+@\d\S* \()/m);
  const licensed = new Map(sections.map((section) => [/^(\S+)@/.exec(section)?.[1] ?? "", section]));

  /** The packages that our own code imports for their values. */
  const imported = () => {
    const sources = ts.sys.readDirectory("src", [".ts"]).flatMap((file) => {
      const code = ts.transpileModule(readFileSync(file, "utf8"), {
        compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true },
      });
      return ts.preProcessFile(code.outputText, true, true).importedFiles.map(({ fileName }) => fileName);
    });
    const names = sources // "exports" is no package: a UMD header's word for what the module itself gives
      .filter((name) => !name.startsWith(".") && !isBuiltin(name) && name !== "node:sqlite" && name !== "exports");
    return new Set(
      names.map((name) =>
        name
          .split("/")
          .slice(0, name.startsWith("@") ? 2 : 1)
          .join("/"),
      ),
    );
  };

  it("cover every package that our code imports", () => {
    const bundled = [...imported()].filter((name) => !own.includes(name));
    expect(bundled.length).toBeGreaterThan(5);
    expect(bundled.filter((name) => !licensed.has(name))).toEqual([]);
  });

  it("cover what those packages bring along", () => {
    expect([...licensed.keys()]).toEqual(expect.arrayContaining(["graceful-fs", "signal-exit", "retry"]));
  });

  it("have their whole text", () => {
    const short = [...licensed].filter(
      ([, section]) => section.length < 500 || !/copyright|permission|licen[cs]e/i.test(section),
    );
    expect(short).toEqual([]);
  });
});
