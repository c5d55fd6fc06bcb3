/**
 * Names of bytes. Apart from the Platform port, so that the declarations of the library need no types of an engine's own
 * (a program for Node.js alone has no `WebAssembly` namespace).
 */

/** Lower-case hex SHA-256 of some bytes: the name of a blob, module or capsule. 64 characters. */
export type Hash = string;
