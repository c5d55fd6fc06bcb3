/**
 * `sherd/guest`: what an AssemblyScript program needs from outside, over WASI preview 1 alone.
 *
 *   import { args, println, readFile } from "sherd/guest";
 *   println("hello " + args().join(" "));
 *
 * A program is its top-level code: `sherd` runs it once, flushes the output and ends with exit code 0, unless the
 * program called `exit(code)` (its code), threw (a trap, with a message on stderr) or trapped.
 *
 *   program  args() programName() env(name) environment() exit(code) fail(message)
 *   input    stdin: Input — read(bytes) readByte() readLine() readAll() readText()
 *   output   print(text) println(text) writeBytes(bytes) flush() log(text); stdout, stderr: Output
 *   files    readFile readText writeFile writeText tryReadFile openInput openOutput exists fileInfo
 *            listDirectory makeDirectory removeFile removeDirectory rename directories; lastError() lastErrno()
 *   random   randomBytes(n) randomU64() random()
 *   clock    monotonicNs() wallMs() sleep(ms)
 *   dead     markDead(address, bytes) markLive(address): memory that capsules need not hold (--drop-dead)
 *
 * `console.*`, `Math.random`, `Date.now`, `performance.now`, `crypto.getRandomValues` and `process.argv/exit` of the
 * language work too, on the same functions.
 */
export { args, env, environment, exit, fail, programName } from "./program";
export { flush, log, Output, print, println, stderr, stdout, writeBytes } from "./output";
export { Input, stdin } from "./input";
export {
  directories, exists, FileInfo, fileInfo, listDirectory, makeDirectory, openInput, openOutput, readFile, readText,
  removeDirectory, removeFile, rename, tryReadFile, writeFile, writeText,
} from "./files";
export { random, randomBytes, randomU64 } from "./random";
export { monotonicNs, sleep, wallMs } from "./clock";
export { markDead, markLive } from "./dead";
export { lastErrno, lastError } from "./wasi";
