/** The callers' options, in the form that the component takes. */

import { rawBound } from './bound.js';
import { count, dtype, flag, integer, number, oneOf, seconds } from './checks.js';
import { wellFormed } from './component.js';
import { InvalidArgumentError } from './errors.js';
import { known } from './known.js';
import type { CacheLimits, CacheOptions, Limits } from './options.js';
import { vetoKinds, type VetoKind } from './trust.js';

/** Options of the component, with its names. */
export type RawOptions = Record<string, unknown> & {
  confidence: { tag: string; val: unknown };
  validator: string;
  vetoes: VetoKind[];
};

/** Fills `defaults` with what the caller wants. */
export function applyOptions(defaults: RawOptions, options: CacheOptions): RawOptions {
  const raw: RawOptions = { ...defaults };
  const set = (name: string, value: unknown) => {
    if (value !== undefined) {
      raw[name] = value;
    }
  };
  set('similarityThreshold', number(options.similarityThreshold, 'similarityThreshold'));
  set('defaultTtl', integer(options.defaultTtlSeconds, 'defaultTtlSeconds'));
  set('maxEntries', integer(options.maxEntries, 'maxEntries'));
  set(
    'namespaceQuotas',
    Object.entries(options.namespaceQuotas ?? {}).map(([namespace, quota]) => [
      wellFormed(namespace, 'namespaceQuotas'),
      integer(quota, `the quota of ${JSON.stringify(namespace)}`),
    ]),
  );
  raw.confidence = confidenceOf(options);
  if (options.validator !== undefined) {
    raw.validator =
      typeof options.validator === 'function'
        ? 'host'
        : oneOf(options.validator, ['builtin', 'none'], 'validator');
  }
  set('vetoes', vetoKinds(options.vetoes, defaults.vetoes));
  set('verifying', verifyingOf(options));
  const { errorBound, seed } = rawBound(options);
  set('errorBound', errorBound);
  set('seed', seed);
  raw['events'] = options.onEvent !== undefined;
  if (options.vectorDtype !== undefined) {
    set('vectorDtype', dtype(options.vectorDtype));
  }
  if (options.index !== undefined) {
    set('index', oneOf(options.index, ['auto', 'exact', 'hnsw', 'store'], 'index'));
  }
  const { efSearch, efConstruction, heuristic } = known(
    options.graph,
    { efSearch: true, efConstruction: true, heuristic: true },
    'graph',
  );
  const graph = raw['graph'] as { efSearch: number; efConstruction: number; heuristic: boolean };
  set('graph', {
    efSearch: count(efSearch, 'graph.efSearch') ?? graph.efSearch,
    efConstruction: count(efConstruction, 'graph.efConstruction') ?? graph.efConstruction,
    heuristic: flag(heuristic, 'graph.heuristic') ?? graph.heuristic,
  });
  const persists = flag(options.persistIndex, 'persistIndex');
  set('persistIndex', persists === undefined ? undefined : persists ? 'write' : 'none');
  const isShared = Boolean(options.store.capabilities().shared);
  const stale = options.staleSeconds === undefined && isShared ? 0 : options.staleSeconds;
  const staleSeconds = seconds(stale, 'staleSeconds');
  if (staleSeconds !== undefined) {
    set('coordination', { tag: 'stale-tolerant', val: Math.round(1000 * staleSeconds) });
  }
  set('normalize', flag(options.normalize, 'normalize'));
  set('allowUnreadable', flag(options.allowUnreadable, 'allowUnreadable'));
  const { total, ...each } = known<CacheLimits>(
    options.maxBytes,
    { query: true, response: true, metadata: true, total: true },
    'maxBytes',
  );
  set('maxBytes', integer(total, 'maxBytes.total'));
  const limits = limitsOf(each);
  set('maxQueryBytes', limits.query);
  set('maxResponseBytes', limits.response);
  set('maxMetadataBytes', limits.metadata);
  set('touchLimit', count(options.touchLimit, 'touchLimit'));
  const touchInterval = seconds(options.touchIntervalSeconds, 'touchIntervalSeconds');
  set('touchIntervalMs', touchInterval && Math.round(1000 * touchInterval));
  return raw;
}

/** Limits, each of them checked. */
export function limitsOf(given: Limits | undefined): Limits {
  const limits = known<Limits>(given, { query: true, response: true, metadata: true }, 'maxBytes');
  return {
    query: count(limits.query, 'maxBytes.query'),
    response: count(limits.response, 'maxBytes.response'),
    metadata: count(limits.metadata, 'maxBytes.metadata'),
  };
}

const DAY_SECONDS = 86_400n;
const CUT_OFF = 0.7;

/** How confidence is computed: by the caller, by age, or not at all. */
function confidenceOf({ confidence, decay }: CacheOptions): RawOptions['confidence'] {
  if (confidence && decay) {
    throw new InvalidArgumentError('confidence and decay are both given; give one of them');
  }
  if (confidence) {
    const { compute, cutOff } = known(confidence, { compute: true, cutOff: true }, 'confidence');
    if (typeof compute !== 'function') {
      throw new InvalidArgumentError('confidence.compute is not a function; give one, or decay');
    }
    return { tag: 'host', val: number(cutOff, 'confidence.cutOff') ?? CUT_OFF };
  }
  const { halfLifeSeconds, cutOff } = known(
    decay,
    { halfLifeSeconds: true, cutOff: true },
    'decay',
  );
  return {
    tag: 'decay',
    val: {
      halfLifeSeconds: integer(halfLifeSeconds, 'decay.halfLifeSeconds') ?? DAY_SECONDS,
      cutOff: decay ? (number(cutOff, 'decay.cutOff') ?? CUT_OFF) : 0,
    },
  };
}

/** Which candidates are verified; undefined: none are. */
function verifyingOf(options: CacheOptions) {
  const { verify, verifyBand, verifyLater, verifyTimeoutSeconds, verifyConcurrency } = options;
  if (verify === undefined) {
    const others = { verifyBand, verifyLater, verifyTimeoutSeconds, verifyConcurrency };
    for (const [name, value] of Object.entries(others)) {
      if (value !== undefined && value !== false) {
        throw new InvalidArgumentError(`${name} is given without verify; give that function too`);
      }
    }
    return undefined;
  }
  return {
    band: number(verifyBand, 'verifyBand'),
    later: flag(verifyLater, 'verifyLater') ?? false,
  };
}
