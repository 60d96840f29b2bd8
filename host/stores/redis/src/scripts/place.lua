-- What scripts that give ids to entries share.
local now = clock()
local spaces = {}

-- Refuses a namespace whose list a later command would fail on.
local function visit(namespace)
  if not spaces[namespace] then
    read('ZCARD', p .. 'lru:' .. namespace)
    spaces[namespace] = true
  end
end

-- The id of the entry with a namespace and hash, and its fields in HEAD; else nil twice, and the
-- id of one that Redis has expired while the hash key still names it.
local function find(namespace, hash)
  local key = p .. 'hash:' .. namespace .. ':' .. hash
  local id = read('GET', key)
  if not id then
    return nil
  end
  if not string.match(id, '^%d+$') then
    damaged(key, 'holds no id')
  end
  local old = look(id)
  if not old then
    return nil, nil, id
  end
  if (not old[1] or old[1] == namespace) and (not old[2] or old[2] == hash) then
    return id, old
  end
end

-- The last id that was used, if there are so many more. No id above those of all entries has
-- ever been used, wherever the counter is.
local function last_id(fresh)
  local last = tonumber(read('GET', next_id) or 0)
  local top = read('ZREVRANGE', by_id, 0, 0, 'WITHSCORES')
  last = math.max(last, number(top[2]) or 0)
  if last + fresh >= GREATEST then
    damaged(next_id, 'leaves no ids')
  end
  return last
end

-- Names an entry, whose fields are set, in all other keys: `kept` where it has replaced one,
-- `mortal` where its own key may have a time of expiry.
local named = {}
local function place(id, kept, mortal, namespace, hash, accessed, expires)
  local key, member = p .. 'entry:' .. id, namespace .. '|' .. id
  redis.call('SET', p .. 'hash:' .. namespace .. ':' .. hash, id)
  redis.call('ZADD', p .. 'lru:' .. namespace, accessed, id)
  redis.call('ZADD', by_id, id, id)
  if not named[namespace] then
    redis.call('SADD', namespaces, namespace)
    named[namespace] = true
  end
  if expires == '' then
    if kept then
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
      mortal = false
    end
  end
  if mortal then
    redis.call('PERSIST', key)
  end
end
