import { format, inspect } from "node:util";
import { expect, test } from "vitest";
import { Secret } from "../../src/config/secret.ts";

const value = "hunter2-ya29.token";
const secret = new Secret(value);
/** What careless code takes a secret for. */
const printed = secret as unknown as string;

test.each<[string, () => string]>([
  ["String()", () => String(secret)],
  ["a template", () => `it is ${printed}`],
  ["joining", () => [secret, secret].join()],
  ["JSON", () => JSON.stringify({ secret, list: [secret] })],
  ["inspect", () => inspect({ deep: { secret } }, { depth: 9, showHidden: true, getters: true })],
  ["format", () => format("%s %o %O %j", secret, secret, secret, secret)],
  ["an error's cause", () => inspect(new Error("x", { cause: { secret } }))],
  ["its keys", () => JSON.stringify([Object.entries(secret), Object.assign({}, secret)])],
  ["a clone", () => inspect(structuredClone(secret))],
])("%s does not tell it", (_, print) => {
  expect(print()).not.toContain("hunter2");
});

test("it says that something is there, and reveals it when asked", () => {
  expect(`it is ${printed}`).toBe("it is [redacted]");
  expect(inspect(secret)).toBe("[redacted]");
  expect(JSON.stringify(secret)).toBe('"[redacted]"');
  expect(secret.reveal()).toBe(value);
});
