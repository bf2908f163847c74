/**
 * Who may import whom (DESIGN section 5). To give a room a new arrow, add it to the table and record why in
 * docs/decisions. An arrow written `type:room` carries types only: it is gone at run time.
 */
const rooms = {
  core: [],
  state: ["core"],
  logs: ["core"],
  wraps: ["core"],
  targets: ["core"],
  testing: ["core"],
  config: ["core"],
  text: ["core"], // comparing and merging text, whoever asks
  secrets: ["core"], // what looks like a secret, whoever asks
  memory: ["core", "state", "logs", "text", "secrets"],
  mirror: ["core", "state", "logs", "secrets"],
  history: ["core", "state", "memory", "text"], // looking back: changes nothing
  recovery: ["core", "state", "memory", "mirror", "logs", "text", "history", "type:config"], // bringing back; rebuild reads the changelog file, doctor checks what paths.json says
  keeping: ["core", "state", "memory", "mirror", "logs", "secrets", "type:config"], // pin, prune, erase: the only room that removes
  "open.ts": [
    "core",
    "state",
    "logs",
    "wraps",
    "targets",
    "config",
    "text",
    "secrets",
    "memory",
    "mirror",
    "history",
    "recovery",
    "keeping",
  ],
  "index.ts": ["open.ts", "core", "type:config", "type:memory", "type:mirror", "type:history", "type:recovery", "type:keeping"],
  cli: ["index.ts", "config", "testing"],
};

const place = (room) => (room.endsWith(".ts") ? `^src/${room.replace(".", "\\.")}$` : `^src/${room}/`);
const known = Object.keys(rooms).map(place);

const arrows = Object.entries(rooms).flatMap(([room, targets]) => {
  const types = targets.filter((target) => target.startsWith("type:")).map((target) => target.slice(5));
  const values = targets.filter((target) => !target.startsWith("type:"));
  const rule = (name, to) => ({
    name,
    severity: "error",
    comment: `${room} may import ${targets.join(", ") || "nothing"}`,
    from: { path: place(room) },
    to,
  });
  return [
    rule(`${room}-imports-only-its-rooms`, { path: "^src/", pathNot: [place(room), ...[...values, ...types].map(place)] }),
    ...(types.length > 0
      ? [rule(`${room}-imports-only-types`, { path: types.map(place), dependencyTypesNot: ["type-only"] })]
      : []),
  ];
});

module.exports = {
  forbidden: [
    ...arrows,
    {
      name: "every-file-has-a-room",
      severity: "error",
      comment: "a new room needs a line in the table above",
      from: { path: "^src/", pathNot: known },
      to: {},
    },
    { name: "every-import-has-a-room", severity: "error", from: { path: "^src/" }, to: { path: "^src/", pathNot: known } },
    {
      name: "core-has-no-machine",
      severity: "error",
      comment: "no fs, network, clock or randomness; of node:crypto only createHash, which oxlint checks",
      from: { path: "^src/core/" },
      to: { pathNot: ["^src/core/", "^(node:)?crypto$"] },
    },
    {
      name: "no-driver-imports-a-driver",
      severity: "error",
      comment: "what drivers share lives in targets/shared",
      from: { path: "^src/targets/([^/.]+)", pathNot: "^src/targets/(registry|shared)\\b" },
      to: { path: "^src/targets/", pathNot: ["^src/targets/$1\\b", "^src/targets/shared\\b"] },
    },
    {
      name: "only-open-and-registry-know-a-driver",
      severity: "error",
      from: { path: "^src/", pathNot: ["^src/targets/", "^src/open\\.ts$"] },
      to: { path: "^src/targets/", pathNot: "^src/targets/(registry\\.ts$|shared/)" },
    },
    {
      name: "no-wrap-imports-a-wrap",
      severity: "error",
      from: { path: "^src/wraps/([^/.]+)" },
      to: { path: "^src/wraps/", pathNot: "^src/wraps/$1\\b" },
    },
    { name: "no-circle", severity: "error", from: { path: "^src/" }, to: { circular: true } },
    {
      name: "no-unresolvable",
      severity: "error",
      comment: "node:sqlite is absent on Node 20, where it is not loaded either",
      from: {},
      to: { couldNotResolve: true, pathNot: "^node:sqlite$" },
    },
    { name: "src-stands-alone", severity: "error", from: { path: "^src/" }, to: { path: "^(test|bench|scripts)/" } },
    {
      name: "no-date-fns-root",
      severity: "error",
      comment: "it costs up to a second to load unbundled: import a subpath such as date-fns/parseISO",
      from: {},
      to: { path: "node_modules/date-fns/index\\." },
    },
  ],
  options: {
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|demo|Drive|coverage)/" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};
