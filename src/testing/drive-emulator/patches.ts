/**
 * What a request's metadata asks for, in the words of either version of the API.
 * @module
 */
import { invalid, type Json } from "./errors.ts";
import type { Patch } from "./files.ts";

export const text = (json: Json, name: string): string | undefined => {
  const value = json[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw invalid(`Invalid value for: ${name}`, name);
  return value;
};
export const flag = (json: Json, name: string): boolean | undefined => {
  const value = json[name];
  if (value === undefined || typeof value === "boolean") return value;
  throw invalid(`Invalid value for: ${name}`, name);
};
const time = (json: Json, name: string): number | undefined => {
  const value = text(json, name);
  if (value === undefined) return undefined;
  const ms = Date.parse(value);
  if (!/^\d{4}-\d\d-\d\dT/.test(value) || Number.isNaN(ms)) throw invalid(`Invalid value for: Invalid format: "${value}"`, name);
  return ms;
};
const object = (json: Json, name: string): Json | undefined => {
  const value = json[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "object" || Array.isArray(value)) throw invalid(`Invalid value for: ${name}`, name);
  return value as Json;
};
const list = (json: Json, name: string): unknown[] | undefined => {
  const value = json[name];
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw invalid(`Invalid value for: ${name}`, name);
  return value as unknown[];
};
const pairs = (json: Json | undefined): Record<string, string | null> | undefined =>
  json && Object.fromEntries(Object.keys(json).map((key) => [key, text(json, key) ?? null]));
const commas = (value: string | null): string[] | undefined => value?.split(",").filter((id) => id !== "");
export const on = (query: URLSearchParams, ...names: string[]): boolean => names.some((name) => query.get(name) === "true");
export const off = (query: URLSearchParams, name: string): boolean => query.get(name) === "false";

export function v3Patch(json: Json, query: URLSearchParams): Patch {
  return {
    id: text(json, "id"),
    name: text(json, "name"),
    mimeType: text(json, "mimeType"),
    description: text(json, "description"),
    starred: flag(json, "starred"),
    trashed: flag(json, "trashed"),
    parents: list(json, "parents")?.map(String),
    createdTime: time(json, "createdTime"),
    modifiedTime: time(json, "modifiedTime"),
    properties: pairs(object(json, "properties")),
    appProperties: pairs(object(json, "appProperties")),
    shortcutTarget: text(object(json, "shortcutDetails") ?? {}, "targetId"),
    addParents: commas(query.get("addParents")),
    removeParents: commas(query.get("removeParents")),
    pin: on(query, "keepRevisionForever"),
  };
}

export function v2Patch(json: Json, query: URLSearchParams, fresh: boolean): Patch {
  const properties: Record<string, string | null> = {};
  const appProperties: Record<string, string | null> = {};
  for (const one of list(json, "properties") ?? []) {
    const property = one as Json;
    const into = property["visibility"] === "PUBLIC" ? properties : appProperties;
    into[String(property["key"])] = text(property, "value") ?? null;
  }
  const labels = object(json, "labels") ?? {};
  return {
    id: text(json, "id"),
    name: text(json, "title"),
    mimeType: text(json, "mimeType"),
    description: text(json, "description"),
    starred: flag(labels, "starred"),
    trashed: flag(labels, "trashed"),
    parents: list(json, "parents")?.map((one) => String((one as Json)["id"])),
    createdTime: fresh ? time(json, "createdDate") : undefined,
    modifiedTime: fresh || on(query, "setModifiedDate") ? time(json, "modifiedDate") : undefined,
    properties,
    appProperties,
    shortcutTarget: text(object(json, "shortcutDetails") ?? {}, "targetId"),
    addParents: commas(query.get("addParents")),
    removeParents: commas(query.get("removeParents")),
    pin: on(query, "pinned"),
    newRevision: !off(query, "newRevision"),
  };
}
