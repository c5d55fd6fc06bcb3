/**
 * Stands in for AssemblyScript's `~lib/bindings/node`: `process.argv` and `process.exit` over the SDK.
 */
import { args, exit as exitProgram, programName } from "sherd/guest/program";

export namespace process {
  // @ts-ignore: decorator
  @lazy export const argv: string[] = [programName()].concat(args());
  export function exit(code: i32): void { exitProgram(code); }
}
