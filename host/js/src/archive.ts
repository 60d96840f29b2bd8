/** The bytes of a checkpoint, on their way in or out. */

import { InvalidArgumentError, describe, returned } from './errors.js';

/** Where an archive may come from. */
export type ArchiveSource =
  Blob | ArrayBuffer | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

/** Where an archive may go. */
export type ArchiveSink =
  WritableStream<Uint8Array> | ((bytes: Uint8Array) => void | Promise<void>);

const EMPTY = new Uint8Array(0);

/** Returns bytes in pieces of the requested size. */
export class Reader {
  readonly #chunks: AsyncIterator<Uint8Array> | undefined;
  #rest = EMPTY;
  #ended: boolean;

  private constructor(chunks: AsyncIterator<Uint8Array> | undefined, first: Uint8Array) {
    this.#chunks = chunks;
    this.#rest = first as Uint8Array<ArrayBuffer>;
    this.#ended = chunks === undefined;
  }

  /** Reads on request or, if nobody can wait for it, everything in advance. */
  static async of(source: ArchiveSource, inAdvance: boolean): Promise<Reader> {
    if (source instanceof Uint8Array) {
      return new Reader(undefined, source);
    }
    if (source instanceof ArrayBuffer) {
      return new Reader(undefined, new Uint8Array(source));
    }
    const chunks = iterate(source);
    if (!inAdvance) {
      return new Reader(chunks, EMPTY);
    }
    const parts: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const { done, value } = await chunks.next();
      if (done) {
        break;
      }
      parts.push(checked(value));
      length += value.length;
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return new Reader(undefined, all);
  }

  /** At most `max` bytes; none at the end. */
  read(max: number): Uint8Array | Promise<Uint8Array> {
    if (this.#rest.length > 0 || this.#ended) {
      const piece = this.#rest.subarray(0, max);
      this.#rest = this.#rest.subarray(piece.length);
      return piece;
    }
    return this.#more(max);
  }

  async #more(max: number): Promise<Uint8Array> {
    const next = await this.#chunks?.next();
    if (!next || next.done) {
      this.#ended = true;
    } else {
      this.#rest = checked(next.value) as Uint8Array<ArrayBuffer>;
    }
    return this.read(max);
  }

  /** Releases the source. */
  async end(): Promise<void> {
    if (!this.#ended) {
      await this.#chunks?.return?.();
    }
  }
}

function checked(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) {
    throw new InvalidArgumentError('the archive has a chunk that is not a Uint8Array; give bytes');
  }
  return value;
}

function iterate(source: Blob | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>) {
  const chunks: unknown = source instanceof Blob ? source.stream() : source;
  if (typeof chunks === 'object' && chunks !== null && Symbol.asyncIterator in chunks) {
    return (chunks as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  }
  // Not every browser can iterate over a stream.
  if (chunks instanceof ReadableStream) {
    const reader = (chunks as ReadableStream<Uint8Array>).getReader();
    return {
      next: () => reader.read(),
      return: async () => {
        await reader.cancel();
        return { done: true, value: undefined };
      },
    } as AsyncIterator<Uint8Array>;
  }
  throw new InvalidArgumentError(
    'the archive is of no known type; give a Blob, an ArrayBuffer, a Uint8Array, a ReadableStream or an async iterable of bytes',
  );
}

/** Takes bytes: passes them to a sink as they come, or keeps them for later. */
export class Writer {
  readonly #parts: Uint8Array<ArrayBuffer>[] = [];
  readonly #write: ((bytes: Uint8Array) => void | Promise<void>) | undefined;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;

  constructor(
    sink: ArchiveSink | undefined,
    readonly later: boolean,
  ) {
    if (typeof sink === 'function') {
      this.#write = sink;
    } else if (sink) {
      const writer = sink.getWriter();
      this.#writer = writer;
      this.#write = (bytes) => writer.write(bytes);
    }
  }

  write(bytes: Uint8Array): void | Promise<void> {
    if (this.#write && !this.later) {
      return this.#write(bytes);
    }
    this.#parts.push(bytes.slice());
  }

  /** Passes the rest to the sink and closes it. */
  async finish(): Promise<void> {
    if (this.#write) {
      for (const part of this.#parts.splice(0)) {
        await this.#write(part);
      }
      await this.#writer?.close();
    }
  }

  /** Tells the sink that there will be no archive. */
  async fail(reason: unknown): Promise<void> {
    await this.#writer?.abort(reason).catch(() => {});
  }

  /** What was written, if there is no sink. */
  blob(type: string): Blob {
    return new Blob(this.#parts, { type });
  }
}

/** Moves bytes for the component. What fails is an error that it takes for a returned one. */
export function guarded<T>(
  operation: 'read' | 'written',
  work: () => T | Promise<T>,
): T | Promise<T> {
  const failed = (error: unknown): never => {
    const message = `the archive cannot be ${operation}: ${describe(error)}`;
    throw returned({ tag: 'backend', val: { message, retryable: false } });
  };
  try {
    const result = work();
    return result instanceof Promise ? result.catch(failed) : result;
  } catch (error) {
    return failed(error);
  }
}
