/**
 * Locks that are waited for outside of a turn.
 *
 * The calls of a cache take turns, and a synchronous store that waits for a lock stops everything
 * else. So it waits for a moment only. If the lock is still held then, it fails without a change, the
 * cache lets others have their turn, and calls again, until the store's whole patience is over.
 */

/** How long a store waits for a lock in a turn, and how long others then have theirs. */
export const LOCK_WAIT_MS = 20;

/** The call of the cache that runs now. */
interface Turn {
  /** What its caller has waited for locks before. */
  before: number;
  /** The last call of the store has given up on a lock before its patience was over. */
  gaveWay: boolean;
  /** The turn is not to be repeated. */
  isFinal: boolean;
  /** Locks are waited for in the turn, as long as the caller's patience lasts. */
  stays: boolean;
}

let turn: Turn | undefined;

/**
 * Runs a turn that ends when `work` returns, of a caller who has waited for locks for `before`. Says
 * whether it may be called again, if that is a failure.
 */
export function during<T>(before: number, work: () => T): { outcome: T; mayRepeat: boolean } {
  const outer = turn;
  const own: Turn = { before, gaveWay: false, isFinal: false, stays: false };
  turn = own;
  try {
    const outcome = work();
    return { outcome, mayRepeat: own.gaveWay && !own.isFinal };
  } finally {
    turn = outer;
  }
}

/** Whether the call runs in a turn that is repeated if the store gives way to a lock. */
export function mayGiveWay(): boolean {
  return turn !== undefined && !turn.isFinal;
}

/**
 * How long a write that can be done later waits for a lock: `brief`, or `whole` if that is shorter. A
 * turn that may be repeated gives way before that, and a caller who asked for the write has the
 * `whole` patience.
 */
export function patienceOf(brief: number, whole: number): number {
  return mayGiveWay() ? whole : Math.min(brief, whole);
}

/** How long a store waits for a lock now; `patience` is the longest wait of a caller. */
export function lockWait(patience: number): number {
  const left = patience - (turn?.before ?? 0);
  return Math.max(Math.ceil(turn && !turn.stays ? Math.min(LOCK_WAIT_MS, left) : left), 0);
}

/** The lock was still held after {@link lockWait}, and nothing was changed. */
export function lockIsHeld(patience: number): void {
  if (turn) {
    turn.gaveWay = turn.before + lockWait(patience) < patience;
  }
}

/** What a call of the cache would tell otherwise if it was done twice. */
const CHANGING = new Set([
  'insert',
  'deleteById',
  'deleteUnchanged',
  'deleteExpired',
  'clearNamespace',
  'setNamespaceQuota',
]);
/** What begins something long, which would be lost if the turn was repeated. */
const BEGINNING = new Set(['beginImport', 'beginRestore']);

/** What forgets what was begun. It waits for nothing, and an earlier failure is still the last. */
const ENDING = new Set(['endImport', 'endRestore']);

/** Another call of the store begins. */
export function callBegins(operation: string): void {
  if (turn && !ENDING.has(operation)) {
    turn.gaveWay = false;
  }
}

/** A call of the store has succeeded. */
export function callSucceeded(operation: string): void {
  if (turn) {
    turn.stays ||= BEGINNING.has(operation);
    turn.isFinal ||= turn.stays || CHANGING.has(operation);
  }
}
