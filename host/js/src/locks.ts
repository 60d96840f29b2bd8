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
  /** Something was changed that is not to be done twice. */
  changed: boolean;
}

let turn: Turn | undefined;

/**
 * Runs a turn that ends when `work` returns, of a caller who has waited for locks for `before`. Says
 * whether it may be called again, if that is a failure.
 */
export function during<T>(before: number, work: () => T): { outcome: T; mayRepeat: boolean } {
  const outer = turn;
  const own: Turn = { before, gaveWay: false, changed: false };
  turn = own;
  try {
    const outcome = work();
    return { outcome, mayRepeat: own.gaveWay && !own.changed };
  } finally {
    turn = outer;
  }
}

/** How long a store waits for a lock now; `patience` is the longest wait of a caller. */
export function lockWait(patience: number): number {
  const left = turn ? Math.min(LOCK_WAIT_MS, patience - turn.before) : patience;
  return Math.max(Math.ceil(left), 0);
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

/** Another call of the store begins. */
export function callBegins(): void {
  if (turn) {
    turn.gaveWay = false;
  }
}

/** A call of the store has succeeded. */
export function callSucceeded(operation: string): void {
  if (turn && CHANGING.has(operation)) {
    turn.changed = true;
  }
}
