/**
 * Who saves: the options that say it, for every command that saves or uploads.
 * @module
 */
import { type Command, Option } from "commander";
import { ORIGINS, type Meta, type Origin } from "../index.ts";

export interface MetaOptions {
  readonly chat?: string;
  readonly tag?: readonly string[];
  readonly model?: string;
  readonly session?: string;
  readonly tool?: string;
  readonly reason?: string;
  readonly origin?: Origin;
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

export const withMeta = (command: Command): Command =>
  command
    .option("--chat <name>", "the chat that this belongs to")
    .option("--tag <tag>", "a context tag; may be repeated", collect)
    .option("--model <name>", "the model that wrote it")
    .option("--session <id>", "the session's id")
    .option("--tool <name>", "the tool that wrote it")
    .option("--reason <text>", "why")
    .addOption(new Option("--origin <origin>", "who wrote it").choices(ORIGINS));

export const metaOf = ({ chat, tag, model, session, tool, reason, origin }: MetaOptions): Meta => ({
  chat_name: chat,
  context_tags: tag,
  model,
  session_id: session,
  tool,
  reason,
  origin,
});
