/** Whether this engine has `try_table`, which came after the exceptions of the old form. */
export const HAS_TRY_TABLE = WebAssembly.validate(
  Uint8Array.of(
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0],
    ...[10, 8, 1, 6, 0, 0x1f, 0x40, 0, 0x0b, 0x0b],
  ),
);
