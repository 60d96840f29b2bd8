-- Stores entries: eleven arguments each, the fields and then the time of expiry, empty
-- where there is none. Returns an id and 1 for a replaced entry, 0 for a new one.
local WIDTH = 11
local entries = {}
local fresh = 0
local spaces = {}

check()
local now = clock()
for at = 1, #ARGV, WIDTH do
  local namespace, hash = ARGV[at], ARGV[at + 1]
  local key = p .. 'hash:' .. namespace .. ':' .. hash
  local entry = { at = at, key = key }
  local id = read('GET', key)
  if id then
    if not string.match(id, '^%d+$') then
      damaged(key, 'holds no id')
    end
    local old = look(id)
    if not old then
      entry.ghost = id
    elseif (not old[1] or old[1] == namespace) and (not old[2] or old[2] == hash) then
      entry.id = id
    end
  end
  if not entry.id then
    fresh = fresh + 1
  end
  if not spaces[namespace] then
    read('ZCARD', p .. 'lru:' .. namespace)
    spaces[namespace] = true
  end
  entries[#entries + 1] = entry
end

-- No id above those of all entries has ever been used, wherever the counter is.
local last = tonumber(read('GET', next_id) or 0)
local top = read('ZREVRANGE', by_id, 0, 0, 'WITHSCORES')
last = math.max(last, number(top[2]) or 0)
if last + fresh >= GREATEST then
  damaged(next_id, 'leaves no ids')
end

-- The first write is one that Redis refuses when its memory is full.
if fresh > 0 then
  redis.call('SET', next_id, whole(last + fresh))
end
local reply = {}
for _, entry in ipairs(entries) do
  local at, id = entry.at, entry.id
  if not id then
    last = last + 1
    id = whole(last)
  end
  local namespace, hash, expires = ARGV[at], ARGV[at + 1], ARGV[at + 10]
  local key, member = p .. 'entry:' .. id, namespace .. '|' .. id
  if not entry.id then
    redis.call('DEL', key)
  end
  redis.call('HSET', key, 'namespace', namespace, 'query_hash', hash, 'query', ARGV[at + 2],
    'response', ARGV[at + 3], 'embedding', ARGV[at + 4], 'metadata', ARGV[at + 5],
    'created_at', ARGV[at + 6], 'last_accessed_at', ARGV[at + 7], 'ttl', ARGV[at + 8],
    'access_count', ARGV[at + 9])
  redis.call('SET', entry.key, id)
  redis.call('ZADD', p .. 'lru:' .. namespace, ARGV[at + 7], id)
  redis.call('ZADD', by_id, id, id)
  redis.call('SADD', namespaces, namespace)
  if expires == '' then
    if entry.id then
      redis.call('PERSIST', key)
      redis.call('ZREM', by_ttl, member)
      redis.call('HDEL', expiring, id)
    end
  else
    redis.call('ZADD', by_ttl, expires, member)
    redis.call('HSET', expiring, id, hash .. ':' .. namespace)
    -- A time that is over would delete the entry at once; one beyond all times is refused.
    local time = tonumber(expires)
    if time > now and time <= GREATEST then
      redis.call('EXPIREAT', key, expires)
    elseif entry.id then
      redis.call('PERSIST', key)
    end
  end
  reply[#reply + 1] = id
  reply[#reply + 1] = entry.id and 1 or 0
end
redis.call('INCR', version)

-- Clears away more of what Redis has expired or evicted than this call can add to it.
for _, entry in ipairs(entries) do
  if entry.ghost then
    remove(entry.ghost, ARGV[entry.at])
  end
end
local limit = 2 * #entries + 16
for _, member in ipairs(redis.call('ZRANGEBYSCORE', by_ttl, '-inf', whole(now), 'LIMIT', 0, limit)) do
  local namespace, id = split(member)
  if id and not peek(id) then
    remove(id, namespace)
  end
end
for namespace in pairs(spaces) do
  for _, id in ipairs(redis.call('ZRANGE', p .. 'lru:' .. namespace, 0, 3)) do
    if not peek(id) then
      remove(id, namespace)
    end
  end
end
return reply
