import { defineConfig } from "vitest/config";

/** Installs the packed package from the registry, as users do: needs the network and, on Node 20, a compiler's minute. */
export default defineConfig({
  test: {
    name: "install",
    include: ["test/packaging/*.install.ts"],
    globalSetup: "test/packaging/pack.ts",
    pool: "forks",
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
