/**
 * The cipher port without any Node API: WebCrypto, which every browser and Node have.
 *
 * Limit: a page has `crypto.subtle` in a secure context only (https or localhost).
 */
import type { Cipher } from '../types/cipher.js';

const gcm = (iv: Uint8Array, additionalData: Uint8Array): AesGcmParams => ({
  name: 'AES-GCM',
  iv: iv as BufferSource,
  additionalData: additionalData as BufferSource,
  tagLength: 128,
});

export const webCipher: Cipher = {
  hmacSha256: async (key, bytes) => {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    const { subtle } = globalThis.crypto;
    const made = await subtle.importKey('raw', key as BufferSource, algorithm, false, ['sign']);
    return new Uint8Array(await subtle.sign('HMAC', made, bytes as BufferSource));
  },
  encrypt: async (key, nonce, bound, plain) => {
    const { subtle } = globalThis.crypto;
    const made = await subtle.importKey('raw', key as BufferSource, 'AES-GCM', false, ['encrypt']);
    return new Uint8Array(await subtle.encrypt(gcm(nonce, bound), made, plain as BufferSource));
  },
  decrypt: async (key, nonce, bound, sealed) => {
    const { subtle } = globalThis.crypto;
    const made = await subtle.importKey('raw', key as BufferSource, 'AES-GCM', false, ['decrypt']);
    try {
      return new Uint8Array(await subtle.decrypt(gcm(nonce, bound), made, sealed as BufferSource));
    } catch {
      return undefined;
    }
  },
};
