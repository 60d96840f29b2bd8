/**
 * The format of a log of changes, from which a store in memory is made again.
 *
 * A file begins with a header of 16 bytes: the magic, and a generation. Then come records: the
 * length of the payload and its CRC-32 (IEEE 802.3), 32 bits little-endian each, and the payload.
 * A record that is not whole, or not what its CRC says, and all behind it, was never written.
 *
 * A payload is JSON text, its length before it, and then the bytes (vectors, blobs) that the JSON
 * names by `{ "$": [offset, length] }`.
 */

import { CorruptError, SchemaError } from '../errors.js';

const REMEDY = 'delete the store, or load an archive into another';
const MAGIC = 0x6e6d_6c67;
const VERSION = 1;
export const HEADER_BYTES = 16;
const RECORD_HEADER = 8;

/** One change: the name of what was done, and what with. */
export type Change = [operation: string, ...values: unknown[]];

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) {
    n = n & 1 ? 0xedb8_8320 ^ (n >>> 1) : n >>> 1;
  }
  return n >>> 0;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (let i = 0; i < bytes.length; i++) {
    crc = (TABLE[(crc ^ (bytes[i] as number)) & 0xff] as number) ^ (crc >>> 8);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

/** A file's header. */
export function header(generation: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setFloat64(8, generation, true);
  return bytes;
}

/**
 * The generation of a file; undefined where it was never finished, which leaves no header, or zeros
 * in its place. A `CorruptError` for another header.
 */
export function generationOf(bytes: Uint8Array): number | undefined {
  const head = bytes.subarray(0, HEADER_BYTES);
  if (head.length < HEADER_BYTES || head.every((byte) => byte === 0)) {
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const generation = view.getFloat64(8, true);
  if (view.getUint32(0, true) !== MAGIC || !Number.isSafeInteger(generation) || generation < 1) {
    throw new CorruptError(`its header is damaged; ${REMEDY}`);
  }
  const version = view.getUint32(4, true);
  if (version !== VERSION) {
    throw new SchemaError(
      `the log is of version ${version}, and this release knows ${VERSION}; use the release that wrote it`,
    );
  }
  return generation;
}

/** A record of one change. */
export function record(change: Change): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  const json = JSON.stringify(change, (_, value: unknown) => {
    if (ArrayBuffer.isView(value)) {
      const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      parts.push(bytes);
      length += bytes.length;
      return { $: [length - bytes.length, bytes.length] };
    }
    return value;
  });
  const text = new TextEncoder().encode(json);
  const whole = new Uint8Array(RECORD_HEADER + 4 + text.length + length);
  const view = new DataView(whole.buffer);
  view.setUint32(RECORD_HEADER, text.length, true);
  whole.set(text, RECORD_HEADER + 4);
  let at = RECORD_HEADER + 4 + text.length;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  const payload = whole.subarray(RECORD_HEADER);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, crc32(payload), true);
  return whole;
}

/**
 * The changes of a file, and where each ends. A last one that is not whole is left out; a
 * `CorruptError` where whole ones follow it.
 */
export function* changes(bytes: Uint8Array): Generator<{ change: Change; end: number }> {
  for (let at = HEADER_BYTES; ;) {
    const found = payloadAt(bytes, at);
    if (!found?.isSound) {
      if (hasRecordAfter(bytes, at)) {
        throw new CorruptError(`the record at byte ${at} is damaged; ${REMEDY}`);
      }
      return;
    }
    yield { change: decode(found.payload), end: found.end };
    at = found.end;
  }
}

/** Whether any record begins behind `at`: then what is there was not the last one. */
function hasRecordAfter(bytes: Uint8Array, at: number): boolean {
  const text = RECORD_HEADER + 4;
  for (let next = at + 1; next + text < bytes.length; next++) {
    // A payload's text is a list that begins with a name.
    const may = bytes[next + text] === 0x5b && bytes[next + text + 1] === 0x22;
    if (may && payloadAt(bytes, next)?.isSound) {
      return true;
    }
  }
  return false;
}

/** A record's payload, if it may be all there. */
function payloadAt(bytes: Uint8Array, at: number) {
  if (at + RECORD_HEADER > bytes.length) {
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = view.getUint32(at, true);
  const end = at + RECORD_HEADER + length;
  if (length < 4 || end > bytes.length) {
    return undefined;
  }
  const payload = bytes.subarray(at + RECORD_HEADER, end);
  return { payload, end, isSound: crc32(payload) === view.getUint32(at + 4, true) };
}

function decode(payload: Uint8Array): Change {
  const text = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
  const json = new TextDecoder('utf-8', { ignoreBOM: true }).decode(payload.subarray(4, 4 + text));
  const data = payload.subarray(4 + text);
  return JSON.parse(json, (_, value: unknown) => {
    const place = (value as { $?: unknown } | null)?.$;
    return Array.isArray(place)
      ? data.slice(place[0] as number, (place[0] as number) + (place[1] as number))
      : value;
  }) as Change;
}

/** Bytes as the vector that they were. */
export function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}
