import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { plant } from "./tree.ts";

const rooms = ["core", "state", "logs", "wraps", "targets", "testing", "config", "memory", "mirror", "recovery", "cli"];

/** Rooms that a room must not reach: [from, to …]. */
const closed: [from: string, ...to: string[]][] = [
  ["core", ...rooms.filter((room) => room !== "core")],
  ["state", "logs", "memory", "config"],
  ["logs", "state", "memory"],
  ["wraps", "state", "logs", "targets"],
  ["targets", "state", "logs", "wraps", "config"],
  ["testing", "memory", "state", "targets"],
  ["config", "state", "targets"],
  ["memory", "mirror", "targets", "wraps", "config"],
  ["mirror", "memory", "targets", "wraps", "config"],
  ["recovery", "targets", "wraps", "cli"],
  ["cli", "memory", "mirror", "state", "targets"],
];

const registryOr = (room: string) => `${room}/${room === "targets" ? "registry" : "room"}.ts`;

/** [file, what it imports, the rule that forbids it]. */
const forbidden: [file: string, specifier: string, rule: string][] = [
  ...closed.flatMap(([from, ...to]) =>
    to.map((room): [string, string, string] => [
      `src/${from}/to-${room}.ts`,
      `../${registryOr(room)}`,
      `${from}-imports-only-its-rooms`,
    ]),
  ),
  ["src/open.ts", "./cli/room.ts", "open.ts-imports-only-its-rooms"],
  ["src/index.ts", "./state/room.ts", "index.ts-imports-only-its-rooms"],
  ["src/index.ts", "./memory/room.ts", "index.ts-imports-only-types"],
  ["src/recovery/value.ts", "../config/room.ts", "recovery-imports-only-types"],
  ["src/core/fs.ts", "node:fs", "core-has-no-machine"],
  ["src/core/npm.ts", "zod", "core-has-no-machine"],
  ["src/targets/one.ts", "./two.ts", "no-driver-imports-a-driver"],
  ["src/wraps/retry.ts", "./limit.ts", "no-wrap-imports-a-wrap"],
  ["src/mirror/driver.ts", "../targets/two.ts", "only-open-and-registry-know-a-driver"],
  ["src/state/circle.ts", "./elcric.ts", "no-circle"],
  ["src/logs/lost.ts", "./nowhere.ts", "no-unresolvable"],
  ["src/logs/tests.ts", "../../test/helper.ts", "src-stands-alone"],
  ["src/memory/times.ts", "date-fns", "no-date-fns-root"],
  ["src/attic/box.ts", "../core/room.ts", "every-file-has-a-room"],
  ["src/memory/attic.ts", "../attic/room.ts", "every-import-has-a-room"],
];

const all = (...specifiers: string[]) => specifiers.map((specifier) => `export * from "${specifier}";\n`).join("");
const exporting = "export interface Room {\n  name: string;\n}\n";

const base: Record<string, string> = {
  ...Object.fromEntries(rooms.map((room) => [`src/${registryOr(room)}`, exporting])),
  "src/targets/two.ts": exporting,
  "src/targets/shared/http.ts": exporting,
  "src/wraps/limit.ts": exporting,
  "test/helper.ts": exporting,
};

const allowed: Record<string, string> = {
  "src/core/fine.ts": all("node:crypto", "./room.ts"),
  "src/targets/fine.ts": all("./shared/http.ts", "../core/room.ts", "node:fs"),
  "src/targets/registry.ts": 'export const driver = () => import("./two.ts");\n',
  "src/memory/fine.ts": all("../core/room.ts", "../state/room.ts", "../logs/room.ts", "date-fns/parseISO"),
  "src/recovery/fine.ts": all("../memory/room.ts", "../mirror/room.ts"),
  "src/open.ts": all("./memory/room.ts", "./wraps/limit.ts", "./targets/two.ts", "./config/room.ts"),
  "src/index.ts": 'export * from "./open.ts";\nexport type { Room } from "./memory/room.ts";\n',
  "src/cli/fine.ts": all("../index.ts", "../config/room.ts", "../testing/room.ts"),
  "test/fine.test.ts": all("../src/memory/room.ts", "../src/targets/two.ts"),
};

const Report = z.object({
  summary: z.object({ violations: z.array(z.object({ from: z.string(), rule: z.object({ name: z.string() }) })) }),
});

const trees: ReturnType<typeof plant>[] = [];
afterAll(() => trees.forEach((tree) => tree.remove()));

function violations(files: Record<string, string>): string[] {
  const tree = plant({ ...base, ...files });
  trees.push(tree);
  const report = Report.parse(JSON.parse(tree.run("depcruise", "src", "test", "-T", "json")));
  return report.summary.violations.map(({ from, rule }) => `${from}: ${rule.name}`);
}

describe("who may import whom", () => {
  const files: Record<string, string> = {
    "src/attic/room.ts": exporting,
    "src/state/elcric.ts": all("./circle.ts"),
  };
  for (const [file, specifier] of forbidden) files[file] = (files[file] ?? "") + all(specifier);
  const found = violations(files);

  it.each(forbidden)("%s may not import %s", (file, _specifier, rule) => {
    expect(found).toContain(`${file}: ${rule}`);
  });

  it("lets every arrow of the table through", () => {
    expect(violations(allowed)).toEqual([]);
  });
});
