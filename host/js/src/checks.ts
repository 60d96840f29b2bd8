/** The callers' values, checked, in the form that the component takes. */

import { wellFormed } from './component.js';
import { InvalidArgumentError } from './errors.js';
import type { VectorDtype } from './options.js';
import { kindOf } from './platform.js';

/** A vector as the component takes it. */
export function vector(value: unknown, field = 'the embedding'): Float32Array {
  switch (kindOf(value)) {
    case 'Float32Array':
      return value as Float32Array;
    case 'Float64Array':
      return Float32Array.from(value as Float64Array);
    default:
      if (Array.isArray(value) && value.every((x) => typeof x === 'number')) {
        return Float32Array.from(value);
      }
  }
  throw new InvalidArgumentError(
    `${field} is ${describeKind(value)}; give a Float32Array, a Float64Array, or an array of numbers`,
  );
}

/** One of the three. */
export function dtype(value: unknown): VectorDtype {
  return oneOf(value, ['float32', 'float16', 'int8'], 'the dtype');
}

/** A whole number of at least 0; undefined and null mean none. */
export function integer(value: unknown, field: string): bigint | undefined {
  return value === undefined || value === null ? undefined : whole(value, field);
}

function whole(value: unknown, field: string): bigint {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError(
      `${field} is ${describeKind(value)}; give a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`,
    );
  }
  return BigInt(value);
}

/** A list of texts; undefined means none. */
export function texts(value: unknown, field: string, one: string): string[] | undefined {
  return value === undefined
    ? undefined
    : listOf(value, field, 'strings').map((text) => wellFormed(text, one));
}

/** A list of whole numbers of at least 0; undefined means none. */
export function integers(value: unknown, field: string, one: string): BigUint64Array | undefined {
  return value === undefined
    ? undefined
    : BigUint64Array.from(listOf(value, field, 'numbers'), (number) => whole(number, one));
}

/** A list of anything. */
export function listOf(value: unknown, field: string, of: string): unknown[] {
  if (!Array.isArray(value)) {
    throw new InvalidArgumentError(
      `${field} are ${value === null ? 'null' : `of type ${typeof value}`}; give an array of ${of}`,
    );
  }
  return value;
}

/** As {@link integer}, for 32 bits. */
export function count(value: unknown, field: string): number | undefined {
  const found = integer(value, field);
  if (found !== undefined && found > 0xffff_ffffn) {
    throw new InvalidArgumentError(`${field} is ${found}; give at most 4,294,967,295`);
  }
  return found === undefined ? undefined : Number(found);
}

/** A number; the component checks its range. */
export function number(value: unknown, field: string): number | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  if (typeof value !== 'number') {
    throw new InvalidArgumentError(`${field} is ${describeKind(value)}; give a number`);
  }
  return value;
}

/** A duration, which may be a part of a second; undefined and null mean none. */
export function seconds(value: unknown, field: string): number | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  // Timers end at once where they are asked to wait for longer.
  if (typeof value !== 'number' || !(value >= 0 && value <= MAX_SECONDS)) {
    throw new InvalidArgumentError(
      `${field} is ${describeKind(value)}; give seconds, 0 to ${MAX_SECONDS}`,
    );
  }
  return value;
}

/** 24 days: 2^31 - 1 milliseconds, rounded down. */
const MAX_SECONDS = 2_147_483;

/** True or false. */
export function flag(value: unknown, field: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') {
    return value;
  }
  throw new InvalidArgumentError(`${field} is ${describeKind(value)}; give true or false`);
}

/** One of some words. */
export function oneOf<T extends string>(value: unknown, words: readonly T[], field: string): T {
  if (!words.includes(value as T)) {
    throw new InvalidArgumentError(
      `${field} is ${JSON.stringify(value) ?? typeof value}; give ${words.join(', ').replace(/, ([^,]*)$/, ' or $1')}`,
    );
  }
  return value as T;
}

/** Metadata as text. */
export function metadata(value: unknown): string {
  if (value === undefined) {
    return '{}';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError(`the metadata is ${describeKind(value)}; give an object`);
  }
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (thrown) {
    throw new InvalidArgumentError(
      `the metadata cannot be written as JSON: ${thrown instanceof Error ? thrown.message : 'unknown'}`,
    );
  }
  return wellFormed(text, 'the metadata');
}

/** Metadata that was stored. Stores may be written by others, who keep other JSON. */
export function parseMetadata(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function describeKind(value: unknown): string {
  if (value === null) {
    return 'null';
  }
  if (typeof value === 'number') {
    return String(value);
  }
  return Array.isArray(value) ? 'an array of other things' : `of type ${typeof value}`;
}
