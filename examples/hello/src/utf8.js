// Text and bytes. QuickJS has no TextEncoder, but its URI functions know UTF-8.

/** Encode text; a lone surrogate becomes U+FFFD. */
export function encodeUtf8(text) {
  const escaped = encodeURIComponent(text.toWellFormed());
  const bytes = [];
  for (let at = 0; at < escaped.length; at += 1) {
    if (escaped[at] === "%") {
      bytes.push(parseInt(escaped.slice(at + 1, at + 3), 16));
      at += 2;
    } else {
      bytes.push(escaped.charCodeAt(at));
    }
  }
  return new Uint8Array(bytes);
}

/** Decode bytes; throws URIError when they are not UTF-8. */
export function decodeUtf8(bytes) {
  const escape = (byte) => `%${byte.toString(16).padStart(2, "0")}`;
  return decodeURIComponent(Array.from(bytes, escape).join(""));
}
