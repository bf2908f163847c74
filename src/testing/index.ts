/**
 * `aftersave/testing`: doubles and the target suite, for anyone who writes a target or a wrap. Free of any test runner.
 * @module
 */
export { createMemoryTarget, type MemoryObject, type MemoryTarget, type MemoryTargetOptions } from "./memory-target.ts";
