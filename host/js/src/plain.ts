/** Records of the component, as JavaScript has them. */

/** A record with numbers for bigints. */
export function plain(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, one(value)]));
}

function one(value: unknown): unknown {
  if (typeof value === 'bigint') {
    return Number(value);
  }
  if (Array.isArray(value)) {
    return value.map(one);
  }
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)
    ? plain(value as Record<string, unknown>)
    : value;
}
