import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { codeOf, freshRoots } from "../memory/root.ts";

/** Agent Trace 0.1, section 6.1 (CC BY 4.0, https://github.com/cursor/agent-trace), without its descriptions. */
const contributor = {
  type: "object",
  required: ["type"],
  properties: {
    type: { type: "string", enum: ["human", "ai", "mixed", "unknown"] },
    model_id: { type: "string", maxLength: 250 },
  },
} as const;
const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  required: ["version", "id", "timestamp", "files"],
  properties: {
    version: { type: "string", pattern: "^[0-9]+\\.[0-9]+$" },
    id: { type: "string", format: "uuid" },
    timestamp: { type: "string", format: "date-time" },
    vcs: {
      type: "object",
      required: ["type", "revision"],
      properties: { type: { type: "string", enum: ["git", "jj", "hg", "svn"] }, revision: { type: "string" } },
    },
    tool: { type: "object", properties: { name: { type: "string" }, version: { type: "string" } } },
    files: {
      type: "array",
      items: {
        type: "object",
        required: ["path", "conversations"],
        properties: {
          path: { type: "string" },
          conversations: {
            type: "array",
            items: {
              type: "object",
              required: ["ranges"],
              properties: {
                url: { type: "string", format: "uri" },
                contributor,
                ranges: {
                  type: "array",
                  items: {
                    type: "object",
                    required: ["start_line", "end_line"],
                    properties: {
                      start_line: { type: "integer", minimum: 1 },
                      end_line: { type: "integer", minimum: 1 },
                      content_hash: { type: "string" },
                      contributor,
                    },
                  },
                },
                related: {
                  type: "array",
                  items: {
                    type: "object",
                    required: ["type", "url"],
                    properties: { type: { type: "string" }, url: { type: "string", format: "uri" } },
                  },
                },
              },
            },
          },
        },
      },
    },
    metadata: { type: "object" },
  },
} as const;
const schema = z.fromJSONSchema(SCHEMA as unknown as z.core.JSONSchema.JSONSchema);
const isRecord = (value: unknown) => schema.safeParse(value).success;

const KEY = "Meta/Notes.md";
const { fresh } = freshRoots();

describe("Agent Trace", () => {
  test("the schema tells a record from what is none", () => {
    const least = {
      version: "0.1",
      id: "550e8400-e29b-41d4-a716-446655440000",
      timestamp: "2026-01-25T10:00:00Z",
      files: [{ path: "a", conversations: [{ contributor: { type: "ai" }, ranges: [{ start_line: 1, end_line: 50 }] }] }],
    };
    expect(isRecord(least)).toBe(true);
    for (const wrong of [{ version: "0.1.0" }, { id: "x" }, { timestamp: "today" }, { files: [{ path: "a" }] }])
      expect(isRecord({ ...least, ...wrong })).toBe(false);
    const ranges = [{ start_line: 0, end_line: 1 }];
    expect(isRecord({ ...least, files: [{ path: "a", conversations: [{ ranges }] }] })).toBe(false);
  });

  test("a record keeps to the schema, and its ranges are the file's lines, each once, with their contributors", async () => {
    const { memory, edit, read } = await fresh();
    const url = "https://chat.example/c/1";
    await memory.append(KEY, "one\ntwo\n", { chat_name: url, model: "anthropic/claude-opus-4-5", origin: "agent" });
    await memory.append(KEY, "three\n", { chat_name: "at the desk", origin: "human" });
    await memory.append(KEY, "four\n", { chat_name: url, model: "anthropic/claude-opus-4-5", origin: "agent" });
    await memory.append(KEY, "five\n", { origin: "consolidation", session_id: "night" });
    await memory.append(KEY, "six\n", { origin: "import", model: "m".repeat(251) });
    edit(KEY, `${read(KEY)}seven`);
    await memory.sweep();
    const record = await memory.trace(KEY);
    expect(isRecord(record)).toBe(true);
    expect(record.files).toHaveLength(1);
    expect(record.files[0]?.path).toBe("Data/Meta/Notes.md");
    const conversations = record.files[0]?.conversations ?? [];
    expect(
      conversations.map(({ contributor: who, ranges }) => [
        who.type,
        who.model_id,
        ...ranges.map((range) => [range.start_line, range.end_line]),
      ]),
    ).toEqual([
      ["ai", "anthropic/claude-opus-4-5", [1, 2], [4, 4]],
      ["human", undefined, [3, 3]],
      ["ai", undefined, [5, 5]],
      ["unknown", undefined, [6, 6]],
      ["unknown", undefined, [7, 7]],
    ]);
    expect(conversations.map((conversation) => conversation.url)).toEqual([url, ...Array.from({ length: 4 })]);
    expect(conversations[0]?.ranges[0]?.content_hash).toBe(`sha256:${createHash("sha256").update("one\ntwo\n").digest("hex")}`);
    const { aftersave } = record.metadata;
    expect(aftersave.conversations).toHaveLength(conversations.length);
    expect(aftersave.conversations[0]).toMatchObject({ chat_name: url, origin: "agent" });
    expect(aftersave.conversations.flatMap(({ versions }) => versions)).toHaveLength(6);
  });

  test("the same content by the same authors has the same id, another one another", async () => {
    const { memory } = await fresh();
    await memory.append(KEY, "one\n", { origin: "agent" });
    const first = await memory.trace(KEY);
    await memory.append(KEY, "two\n", { origin: "agent" });
    const second = await memory.trace(KEY);
    expect(second.id).not.toBe(first.id);
    expect(await memory.trace(KEY, { version: "-1" })).toEqual(first);
    expect(await codeOf(memory.trace("Meta/none.md"))).toBe("E_NOT_FOUND");
  });
});
