/**
 * The cipher port: what sealing needs from outside. Apart from `Platform`, because only files that travel are sealed.
 *
 * Does: name two primitives. Does not: contain an implementation. `host/node/cipher.ts` is Node's (node:crypto);
 * `host/runtime/cipher-web.ts` is the twin on WebCrypto. Both give the same bytes (a test compares them).
 *
 * P1  Both are pure: no randomness, no state.
 */

export interface Cipher {
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Promise<Uint8Array>;
  /** AES-256-GCM with a nonce of 12 bytes: ciphertext, then the tag of 16 bytes. */
  encrypt(
    key: Uint8Array,
    nonce: Uint8Array,
    bound: Uint8Array,
    plain: Uint8Array,
  ): Promise<Uint8Array>;
  /** The plain bytes; undefined when anything of it is not what was encrypted. */
  decrypt(
    key: Uint8Array,
    nonce: Uint8Array,
    bound: Uint8Array,
    sealed: Uint8Array,
  ): Promise<Uint8Array | undefined>;
}
