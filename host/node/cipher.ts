/** The cipher port on Node: node:crypto. */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import type { Cipher } from '../types/cipher.js';

const ALGORITHM = 'aes-256-gcm';
const TAG_BYTES = 16;

export const nodeCipher: Cipher = {
  hmacSha256: async (key, bytes) =>
    new Uint8Array(createHmac('sha256', key).update(bytes).digest()),
  encrypt: async (key, nonce, bound, plain) => {
    const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(bound);
    const sealed = new Uint8Array(plain.length + TAG_BYTES);
    sealed.set(cipher.update(plain));
    cipher.final();
    sealed.set(cipher.getAuthTag(), plain.length);
    return sealed;
  },
  decrypt: async (key, nonce, bound, sealed) => {
    if (sealed.length < TAG_BYTES) return undefined;
    const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(bound);
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const plain = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
  },
};
