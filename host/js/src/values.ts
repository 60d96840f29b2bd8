/** Between what callers compute and the text that a cache keeps of it. */

import { InvalidArgumentError, describe } from './errors.js';
import { wellFormed } from './component.js';

/** The metadata key of a response that is JSON, which stands for the value. */
const KIND = 'mneme.value';

/** A value as text, and the metadata that tells it from a plain text. */
export interface Kept {
  response: string;
  metadata: Record<string, unknown>;
}

/**
 * A value as the cache keeps it. An `InvalidArgumentError` for one that would come back as
 * something else.
 */
export function keptOf(value: unknown, metadata: Record<string, unknown> = {}): Kept {
  if (typeof value === 'string') {
    // The key is the cache's own: it would make JSON of the text.
    const { [KIND]: _, ...others } = metadata;
    return { response: wellFormed(value, 'what was computed'), metadata: others };
  }
  let response: string | undefined;
  try {
    checkJson(value, 'what was computed', 0);
    response = JSON.stringify(value);
  } catch (thrown) {
    throw new InvalidArgumentError(
      `it cannot be kept as JSON: ${describe(thrown)}; return a text, or plain objects, arrays, numbers, booleans and null`,
    );
  }
  return {
    response: wellFormed(response, 'what was computed'),
    metadata: { ...metadata, [KIND]: 'json' },
  };
}

/** The value that an entry stands for; undefined if its response is not the JSON it says it is. */
export function valueOf({ response, metadata }: Kept): { value: unknown } | undefined {
  if (metadata[KIND] !== 'json') {
    return { value: response };
  }
  try {
    return { value: JSON.parse(response) };
  } catch {
    return undefined;
  }
}

const DEEPEST = 1000;

function checkJson(value: unknown, where: string, depth: number): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') {
    return;
  }
  if (depth > DEEPEST) {
    throw new TypeError(`${where.slice(0, 60)}… is nested too deeply, or holds itself`);
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) {
      throw new TypeError(`${where} is ${value}`);
    }
    return;
  }
  if (Array.isArray(value)) {
    value.forEach((one, at) => checkJson(one, `${where}[${at}]`, depth + 1));
    if (value.length > 0 && Object.keys(value).length !== value.length) {
      throw new TypeError(`${where} is a list with holes or names`);
    }
    return;
  }
  if (typeof value !== 'object') {
    throw new TypeError(`${where} is ${value === undefined ? 'undefined' : `a ${typeof value}`}`);
  }
  const kind = Object.getPrototypeOf(value);
  // A plain object, of this realm or another.
  if (kind !== null && Object.getPrototypeOf(kind) !== null) {
    throw new TypeError(`${where} is a ${kind.constructor?.name ?? 'class instance'}`);
  }
  for (const [key, one] of Object.entries(value)) {
    // JSON leaves these out, and readers see the same either way.
    if (one !== undefined) {
      checkJson(one, `${where}.${key}`, depth + 1);
    }
  }
}
