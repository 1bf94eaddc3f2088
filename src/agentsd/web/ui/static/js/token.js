// Tokens, made where they are used: this page keeps one until its reader has it, and the server gets a hash.
// The form is control/tokens.make_token's: "agentsd_", 32 random bytes in base64url, CRC-32 in base 62.

const PREFIX = "agentsd_";
const RANDOM_BYTES = 32;
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECK_DIGITS = 6;

/** Return whether this browser lets a page hash: over https, or from this machine. */
export const canHash = () => globalThis.crypto?.subtle !== undefined;

/** A new token. */
export const newToken = () => tokenOf(crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)));

/** The token of 32 random bytes. */
export function tokenOf(random) {
  if (random.length !== RANDOM_BYTES) throw new RangeError(`a token is made of ${RANDOM_BYTES} bytes`);
  const text = btoa(String.fromCharCode(...random));
  const body = PREFIX + text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return body + checksum(body);
}

/** What the server keeps of a token: SHA-256 in hex. */
export async function hashOf(token) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function checksum(body) {
  let number = crc32(new TextEncoder().encode(body));
  let digits = "";
  for (let place = 0; place < CHECK_DIGITS; place += 1) {
    digits = DIGITS[number % DIGITS.length] + digits;
    number = Math.floor(number / DIGITS.length);
  }
  return digits;
}

/** As in ISO 3309, zlib and PNG; bit by bit, for there are 51 bytes. */
function crc32(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) {
    rest ^= byte;
    for (let bit = 0; bit < 8; bit += 1) rest = (rest >>> 1) ^ (rest & 1 ? 0xedb88320 : 0);
  }
  return (rest ^ 0xffffffff) >>> 0;
}
