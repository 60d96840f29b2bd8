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

-- Refuses keys that `tag` would fail on.
local function check_tags()
  read('ZCARD', by_tag)
  read('HLEN', tagged)
end

-- Takes an entry with these tags out of the index.
local function untag(id, text)
  for _, tag in ipairs(tags_in(text) or {}) do
    redis.pcall('ZREM', by_tag, member(tag, id))
  end
  redis.pcall('HDEL', tagged, id)
end

-- Puts an entry into the index. One with a time of expiry has its tags in `tagged` too, to find
-- its members when Redis has expired it. Returns how many members it has.
local function tag(id, text, expires)
  local list = tags_in(text)
  for _, name in ipairs(list) do
    redis.call('ZADD', by_tag, 0, member(name, id))
  end
  if expires ~= '' then
    redis.call('HSET', tagged, id, text)
  end
  return #list
end

-- Removes those of `count` members that belong to no entry: other programs leave them behind.
-- Another `turn` looks at others.
local function sweep_tags(turn, count)
  local from = turn % redis.call('ZCARD', by_tag)
  for _, name in ipairs(redis.call('ZRANGE', by_tag, from, from + count - 1)) do
    local id = tagged_id(name)
    if not (id and peek(id)) then
      redis.call('ZREM', by_tag, name)
    end
  end
end

-- Changes that the log keeps, beside those of a version that is there in part.
local KEPT = 65536
-- A write of more changes empties the log.
local LONG = 1000

-- Moves the version counter on after a write to these entries, and logs that. Without ids the log is
-- emptied: nobody is told what the write did. It starts again too where others have moved the
-- counter. Returns the version.
local function moved(ids, sign)
  local now = redis.call('INCR', version)
  if not ids or #ids > LONG then
    redis.call('UNLINK', changes)
    return now
  end
  if last_logged(redis.pcall) ~= now - 1 then
    redis.call('UNLINK', changes)
  end
  for n, id in ipairs(ids) do
    local name = whole(now) .. '-' .. n
    local added = redis.pcall('XADD', changes, 'MAXLEN', '~', KEPT + LONG, name, 'id', sign .. id)
    if type(added) == 'table' then
      -- Others have written to it. What is in the log has to be true.
      redis.call('UNLINK', changes)
      break
    end
  end
  return now
end

-- Removes all that there is of an entry, or that Redis has left of one. A namespace, hash or tags
-- that are not given are found as far as they can be; `labels` is false where there are no tags.
local function remove(id, namespace, hash, labels)
  if not (namespace and hash) then
    local space, digest = recorded(id)
    namespace, hash = namespace or space, hash or digest
  end
  if labels == nil then
    labels = redis.pcall('HGET', tagged, id)
  end
  if type(labels) == 'string' then
    untag(id, labels)
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
