-- Records hits: an id, a number of hits and a time each.
local touched = {}
local spaces = {}
for id, hits, time in string.gmatch(ARGV[1], '(%d+) (%d+) (%d+)') do
  local key = p .. 'entry:' .. id
  local fields = read('HMGET', key, 'namespace', 'query_hash', 'last_accessed_at', 'access_count')
  local namespace = fields[1]
  if namespace and fields[2] then
    local lru = p .. 'lru:' .. namespace
    if not spaces[namespace] then
      read('ZCARD', lru)
      spaces[namespace] = true
    end
    local latest = whole(math.max(number(fields[3]) or 0, tonumber(time)))
    local count = math.min((number(fields[4]) or 0) + tonumber(hits), GREATEST)
    touched[#touched + 1] = { key, lru, id, latest, whole(count) }
  end
end
for _, entry in ipairs(touched) do
  redis.call('HSET', entry[1], 'last_accessed_at', entry[4], 'access_count', entry[5])
  redis.call('ZADD', entry[2], entry[4], entry[3])
end
return #touched
