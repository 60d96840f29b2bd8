-- Deletes the first `limit` entries of a namespace or of all. Returns the ids it deleted, and
-- whether there may be more.
local function clear(limit, name)
  local ids = read('ZRANGE', name and p .. 'lru:' .. name or by_id, 0, limit - 1)
  local deleted = {}
  for _, id in ipairs(ids) do
    local fields = peek(id)
    if fields then
      deleted[#deleted + 1] = id
    end
    remove(id, name or fields and fields[1], fields and fields[2], fields and fields[5])
  end
  local more = #ids >= limit
  if not more and not name then
    -- What no entry belongs to any more.
    for _, space in ipairs(redis.call('SMEMBERS', namespaces)) do
      local lru = p .. 'lru:' .. space
      for _, id in ipairs(redis.pcall('ZRANGE', lru, 0, -1)) do
        redis.call('DEL', p .. 'entry:' .. id)
      end
      redis.call('DEL', lru)
    end
    redis.call('DEL', namespaces, by_ttl, expiring, by_tag, tagged)
  end
  return deleted, more
end
