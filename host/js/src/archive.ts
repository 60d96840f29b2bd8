/** The bytes of a checkpoint, on their way in or out. */

import { BackendError, InvalidArgumentError, describe, returned } from './errors.js';
import { joined, kindOf } from './platform.js';

/** Where an archive may come from. */
export type ArchiveSource =
  Blob | ArrayBuffer | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

/** The part of a stream of Node, such as `fs.createWriteStream(path)`, that is used. */
export interface NodeWritable {
  write(bytes: Uint8Array, done: (error?: Error | null) => void): unknown;
  end(done: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  destroy(error?: Error): unknown;
}

/** Where an archive may go. A stream is closed at its end. */
export type ArchiveSink =
  WritableStream<Uint8Array> | NodeWritable | ((bytes: Uint8Array) => void | Promise<void>);

const EMPTY = new Uint8Array(0);

/** Returns bytes in pieces of the requested size. */
export class Reader {
  readonly #chunks: AsyncIterator<Uint8Array> | undefined;
  readonly #first: Uint8Array<ArrayBuffer>;
  #rest = EMPTY;
  #ended: boolean;

  private constructor(chunks: AsyncIterator<Uint8Array> | undefined, first: Uint8Array) {
    this.#chunks = chunks;
    this.#first = first as Uint8Array<ArrayBuffer>;
    this.#rest = this.#first;
    this.#ended = chunks === undefined;
  }

  /** Begins again, if it was read in advance. */
  restart(): void {
    this.#rest = this.#first;
  }

  /** Reads on request or, if nobody can wait for it, everything in advance. */
  static async of(source: ArchiveSource, inAdvance: boolean): Promise<Reader> {
    if (kindOf(source) === 'Uint8Array') {
      return new Reader(undefined, source as Uint8Array);
    }
    if (kindOf(source) === 'ArrayBuffer') {
      return new Reader(undefined, new Uint8Array(source as ArrayBuffer));
    }
    const chunks = iterate(source);
    if (!inAdvance) {
      return new Reader(chunks, EMPTY);
    }
    const parts: Uint8Array[] = [];
    for (;;) {
      const { done, value } = await chunks.next();
      if (done) {
        return new Reader(undefined, joined(parts));
      }
      parts.push(checked(value));
    }
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
  if (kindOf(value) !== 'Uint8Array') {
    throw new InvalidArgumentError('the archive has a chunk that is not a Uint8Array; give bytes');
  }
  return value as Uint8Array;
}

function iterate(source: unknown): AsyncIterator<Uint8Array> {
  if (/^(Blob|File)$/.test(kindOf(source))) {
    const blob = source as Blob;
    // Test environments (jsdom) have blobs without streams.
    return typeof blob.stream === 'function' ? iterate(blob.stream()) : whole(blob);
  }
  if (typeof source === 'object' && source !== null && Symbol.asyncIterator in source) {
    return (source as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  }
  // Not every browser can iterate over a stream.
  if (typeof (source as ReadableStream | null)?.getReader === 'function') {
    const reader = (source as ReadableStream<Uint8Array>).getReader();
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

async function* whole(blob: Blob): AsyncGenerator<Uint8Array> {
  yield await new Promise<Uint8Array>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(new Uint8Array(reader.result as ArrayBuffer));
    reader.onerror = () => reject(reader.error);
    reader.readAsArrayBuffer(blob);
  });
}

/** A place that takes bytes. */
interface Sink {
  write(bytes: Uint8Array): void | Promise<void>;
  end?(): Promise<void>;
  abort?(reason: unknown): Promise<void>;
}

function sinkOf(sink: ArchiveSink): Sink {
  if (typeof sink === 'function') {
    return { write: sink };
  }
  const given = sink as Partial<WritableStream & NodeWritable> | null;
  if (typeof given?.getWriter === 'function') {
    const writer = (sink as WritableStream<Uint8Array>).getWriter();
    return {
      write: (bytes) => writer.write(bytes),
      end: () => writer.close(),
      abort: (reason) => writer.abort(reason),
    };
  }
  if (typeof given?.write === 'function' && typeof given.end === 'function') {
    return nodeSink(sink as NodeWritable);
  }
  throw new InvalidArgumentError(
    'to is no place for an archive; give a WritableStream, a stream of Node, or a function that takes bytes',
  );
}

function nodeSink(stream: NodeWritable): Sink {
  const failed = new Promise<never>((_, reject) => {
    stream.on('error', reject);
  });
  // Nobody may be waiting when it fails; the next write tells.
  failed.catch(() => {});
  const done = (start: (finished: (error?: Error | null) => void) => unknown) =>
    Promise.race([
      failed,
      new Promise<void>((resolve, reject) => {
        start((error) => (error ? reject(error) : resolve()));
      }),
    ]);
  return {
    // The component's memory is used again when this returns.
    write: (bytes) => done((finished) => stream.write(bytes.slice(), finished)),
    end: () => done((finished) => stream.end(finished)),
    abort: async () => void stream.destroy(),
  };
}

/** Bytes on their way from one task to another, which waits for each piece. */
export class Pipe implements AsyncIterableIterator<Uint8Array> {
  #piece: Uint8Array | undefined;
  #isEnded = false;
  #isLeft = false;
  #wake = () => {};

  /** Settles when the reader has taken a copy of the bytes, or reads no more. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#piece = bytes.slice();
    this.#wake();
    while (this.#piece && !this.#isLeft) {
      await this.#change();
    }
  }

  /** That nothing more will come. */
  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    while (!this.#piece) {
      if (this.#isEnded) {
        return { done: true, value: undefined };
      }
      await this.#change();
    }
    const value = this.#piece;
    this.#piece = undefined;
    this.#wake();
    return { done: false, value };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#isLeft = true;
    this.#wake();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Only one of the two ends waits at a time. */
  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** Takes bytes: passes them to a sink as they come, or keeps them for later. */
export class Writer {
  readonly #parts: Uint8Array<ArrayBuffer>[] = [];
  readonly #sink: Sink | undefined;
  readonly #later: boolean;
  /** Takes the same bytes as the sink. */
  also: ((bytes: Uint8Array) => Promise<void>) | undefined;

  constructor(sink: ArchiveSink | undefined, later: boolean) {
    this.#sink = sink === undefined ? undefined : sinkOf(sink);
    this.#later = later;
  }

  write(bytes: Uint8Array): void | Promise<void> {
    if (this.#sink && !this.#later) {
      const { also } = this;
      return also
        ? Promise.all([this.#sink.write(bytes), also(bytes)]).then(() => {})
        : this.#sink.write(bytes);
    }
    this.#parts.push(bytes.slice());
  }

  /** Whether the bytes are here, and not in the sink. */
  get isHeld(): boolean {
    return !this.#sink || this.#later;
  }

  /** Passes the rest to the sink and closes it. */
  async finish(): Promise<void> {
    if (!this.#sink) {
      return;
    }
    try {
      for (const part of this.#parts.splice(0)) {
        await this.#sink.write(part);
      }
      await this.#sink.end?.();
    } catch (cause) {
      throw new BackendError(cannotBe('written', cause), { cause });
    }
  }

  /** Tells the sink that there will be no archive. */
  async fail(reason: unknown): Promise<void> {
    await this.#sink?.abort?.(reason).catch(() => {});
  }

  /** What was written and is held. */
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
    const message = cannotBe(operation, error);
    throw returned({ tag: 'backend', val: { message, retryable: false } });
  };
  try {
    const result = work();
    return typeof (result as { then?: unknown } | null)?.then === 'function'
      ? Promise.resolve(result).catch(failed)
      : result;
  } catch (error) {
    return failed(error);
  }
}

function cannotBe(operation: 'read' | 'written', error: unknown): string {
  return `the archive cannot be ${operation}: ${describe(error)}`;
}
