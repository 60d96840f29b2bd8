-- Removes records of entries that have no ttl any more or are gone, from the cursor ARGV[1] on. Returns
-- the next cursor, `0` at the end.
check()
local scanned = redis.call('HSCAN', expiring, ARGV[1], 'COUNT', 1000)
for i = 1, #scanned[2], 2 do
  local id = scanned[2][i]
  local namespace = recorded(id)
  if not (namespace and redis.call('ZSCORE', by_ttl, namespace .. '|' .. id)) then
    if peek(id) then
      redis.call('HDEL', expiring, id)
    else
      remove(id, namespace)
    end
  end
end
return scanned[1]
