-- What every script that writes begins with. Redis undoes nothing, so a script reads and
-- refuses first, and after its first write calls only what cannot fail.

-- Refuses keys that a later command would fail on.
local function check()
  read('ZCARD', by_id)
  read('ZCARD', by_ttl)
  read('HLEN', expiring)
  read('SCARD', namespaces)
  for _, key in ipairs({ version, next_id }) do
    local count = read('GET', key)
    if count and not (string.match(count, '^%d+$') and tonumber(count) < GREATEST) then
      damaged(key, 'holds something that is not a count')
    end
  end
end

-- The namespace and hash that we recorded of an entry with a ttl, for when Redis has expired it.
local function recorded(id)
  local record = redis.call('HGET', expiring, id)
  if record then
    local hash, namespace = string.match(record, '^([^:]*):(.*)$')
    return namespace, hash
  end
end

-- Removes all that there is of an entry, or that Redis has left of one. A namespace or hash
-- that is not given is found as far as it can be.
local function remove(id, namespace, hash)
  if not (namespace and hash) then
    local space, digest = recorded(id)
    namespace, hash = namespace or space, hash or digest
  end
  redis.call('DEL', p .. 'entry:' .. id)
  redis.call('ZREM', by_id, id)
  redis.call('HDEL', expiring, id)
  if namespace and hash then
    local key = p .. 'hash:' .. namespace .. ':' .. hash
    if redis.pcall('GET', key) == id then
      redis.call('DEL', key)
    end
  end
  for _, name in ipairs(namespace and { namespace } or redis.call('SMEMBERS', namespaces)) do
    redis.call('ZREM', by_ttl, name .. '|' .. id)
    redis.pcall('ZREM', p .. 'lru:' .. name, id)
    if redis.call('EXISTS', p .. 'lru:' .. name) == 0 then
      redis.call('SREM', namespaces, name)
    end
  end
end
