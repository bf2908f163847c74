/**
 * `aftersave/testing`: doubles and the target suite, for anyone who writes a target or a wrap. Free of any test runner.
 * @module
 */
export { createMemoryTarget, type MemoryObject, type MemoryTarget, type MemoryTargetOptions } from "./memory-target.ts";
export { type FaultName, type FaultRule, type Faults, type FaultVerb, withFaults } from "./faulty.ts";
export { withLag } from "./lagging.ts";
export {
  mockDrive,
  type MockDrive,
  type MockDriveCall,
  type MockDriveFailure,
  type MockDriveFile,
  type MockDriveItem,
  type MockDriveOptions,
} from "./mock-drive.ts";
export { anySeed, seededRandom } from "./random.ts";
export { bytesOf, sourceOf } from "./source.ts";
export { type Place, type Suite, type SuiteCase, type SuiteOptions, targetCases, targetSuite } from "./target-suite.ts";
export {
  type Account,
  type AddOptions,
  type DriveEmulator,
  type DriveEmulatorOptions,
  type EmulatorSettings,
  type Fault,
  type FaultAction,
  type FaultList,
  type FaultMatch,
  rateLimit,
  type RequestInfo,
  type RequestRecord,
  startDriveEmulator,
  type TreeItem,
} from "./drive-emulator.ts";
