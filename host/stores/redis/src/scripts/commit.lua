-- Makes an import of ARGV[3] entries part of the data, in the mode ARGV[2], with ARGV[5] quotas, a
-- namespace and a number each, and with changes of meta: a key, 1 where a value is
-- expected, that value and the new one each. ARGV[4] matches the keys of all quotas. Returns
-- `gone` where the import is not as it was left, `full` where the mode is `empty` and there
-- are entries, `unexpected` where a meta value is another one, and else `done`.
local mode, count, pattern, quotas = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local replaces = mode == 'replace'
local meta, changes = p .. 'meta', 6 + 2 * quotas

check()
if read('HLEN', known) ~= count + 1 then
  return 'gone'
end
if mode == 'empty' and living() > 0 then
  return 'full'
end
read('HLEN', meta)
if not replaces then
  for at = changes, #ARGV, 4 do
    local expected = ARGV[at + 1] == '1' and ARGV[at + 2]
    if redis.call('HGET', meta, ARGV[at]) ~= expected then
      return 'unexpected'
    end
  end
end
local ids, old_tags, ghosts, fresh, labelled = {}, {}, {}, 0, false
for n = 1, count do
  local pair = read('HMGET', staged .. n, 'namespace', 'query_hash', 'tags')
  local namespace, hash = pair[1], pair[2]
  if not (namespace and hash) then
    return 'gone'
  end
  visit(namespace)
  labelled = labelled or pair[3]
  local id, old, ghost
  if not replaces then
    id, old, ghost = find(namespace, hash)
  end
  if ghost then
    ghosts[#ghosts + 1] = { ghost, namespace }
  end
  if not id then
    fresh = fresh + 1
  end
  ids[n], old_tags[n] = id or false, old and old[5]
end
if labelled then
  check_tags()
end

local last = last_id(fresh)
local changed = count > 0
-- The first write is one that Redis refuses when its memory is full.
redis.call('SET', next_id, whole(last + fresh))
if replaces then
  repeat
    local deleted, more = clear(10000)
    changed = changed or #deleted > 0
  until not more
  for _, key in ipairs(redis.call('HKEYS', meta)) do
    if key ~= 'schema_version' and key ~= 'embedder_fingerprint' and key ~= 'embedder_dim' then
      redis.call('HDEL', meta, key)
    end
  end
  local cursor = '0'
  repeat
    local scanned = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 5000)
    cursor = scanned[1]
    for _, key in ipairs(scanned[2]) do
      redis.call('DEL', key)
    end
  until cursor == '0'
end
for n = 1, count do
  local fields = redis.call('HMGET', staged .. n, 'namespace', 'query_hash', 'last_accessed_at',
    'created_at', 'ttl', 'tags')
  local id = ids[n]
  if not id then
    last = last + 1
    id = whole(last)
  end
  if old_tags[n] then
    untag(id, old_tags[n])
  end
  redis.call('RENAME', staged .. n, p .. 'entry:' .. id)
  local expires = fields[5] == '' and '' or whole(tonumber(fields[4]) + tonumber(fields[5]))
  place(id, ids[n], true, fields[1], fields[2], fields[3], expires)
  if fields[6] then
    tag(id, fields[6], expires)
  end
end
for _, ghost in ipairs(ghosts) do
  remove(ghost[1], ghost[2])
end
for at = 6, changes - 1, 2 do
  redis.call('SET', p .. 'quota:' .. ARGV[at], ARGV[at + 1])
end
for at = changes, #ARGV, 4 do
  redis.call('HSET', meta, ARGV[at], ARGV[at + 3])
end
redis.call('UNLINK', known)
if changed then
  moved()
end
return 'done'
