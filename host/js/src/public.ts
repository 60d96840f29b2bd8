/** What every entry of the package exports, besides the cache. */

export { DEFAULT_NAMESPACE } from './api.js';
export type {
  Answer,
  ComputeOptions,
  Counters,
  DumpOptions,
  DumpReport,
  ExplainOptions,
  Explanation,
  GetOptions,
  Health,
  HealthOptions,
  Hit,
  JudgedEntry,
  LoadOptions,
  LoadReport,
  Lookup,
  Manifest,
  Miss,
  PutOptions,
  Question,
  Resolved,
  Stats,
  VacuumOptions,
  Verdict,
} from './api.js';
export type { InspectOptions, Summary } from './inspect.js';
export type { ArchiveSink, ArchiveSource } from './archive.js';
export { hasJspi } from './component.js';
export {
  BackendError,
  CheckpointError,
  ClosedError,
  ComponentError,
  CorruptError,
  DataVanishedError,
  EmbedderDimensionError,
  EmbedderError,
  EmbedderMismatchError,
  IndexUnavailableError,
  InvalidArgumentError,
  MnemeError,
  QuantizationError,
  QuotaExceededError,
  RefusedError,
  SchemaError,
  UnsupportedError,
} from './errors.js';
export type { ErrorCode } from './errors.js';
export type {
  CacheEvent,
  CacheOptions,
  Candidate,
  Embedder,
  Embedding,
  ErrorContext,
  IndexKind,
  MissReason,
  Reading,
  Vector,
  VectorDtype,
} from './options.js';
export type {
  Awaitable,
  Capabilities,
  Entry,
  EntryKey,
  EntryRef,
  ImportMode,
  Inserted,
  MetaChange,
  Restored,
  StampPage,
  Store,
  Touch,
  VectorPage,
} from './store.js';
