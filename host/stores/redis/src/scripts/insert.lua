-- Stores entries. Returns an id and 1 for a replaced entry, 0 for a new one.
local entries = {}
local fresh, labelled, labels = 0, false, 0

check()
for at = 1, #ARGV, WIDTH do
  local entry = { at = at }
  entry.id, entry.old, entry.ghost = find(ARGV[at], ARGV[at + 1])
  if not entry.id then
    fresh = fresh + 1
  end
  visit(ARGV[at])
  if ARGV[at + EXTRA.tags] ~= '' then
    labelled = true
  end
  entries[#entries + 1] = entry
end
if labelled then
  check_tags()
end

local last = last_id(fresh)
-- The first write is one that Redis refuses when its memory is full.
if fresh > 0 then
  redis.call('SET', next_id, whole(last + fresh))
end
local reply, ids = {}, {}
for _, entry in ipairs(entries) do
  local at, id = entry.at, entry.id
  if not id then
    last = last + 1
    id = whole(last)
    redis.call('DEL', p .. 'entry:' .. id)
  end
  write_fields(p .. 'entry:' .. id, at)
  local text, old = ARGV[at + EXTRA.tags], entry.old
  if old and old[5] then
    untag(id, old[5])
  end
  for name, place in pairs({ tags = 5, context = 6 }) do
    if old and old[place] and ARGV[at + EXTRA[name]] == '' then
      redis.call('HDEL', p .. 'entry:' .. id, name)
    end
  end
  if text ~= '' then
    labels = labels + tag(id, text, ARGV[at + 10])
  end
  place(id, entry.id, entry.id, ARGV[at], ARGV[at + 1], ARGV[at + 7], ARGV[at + 10])
  ids[#ids + 1] = id
  reply[#reply + 1] = id
  reply[#reply + 1] = entry.id and 1 or 0
end
local turn = moved(ids, '')

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
if labels > 0 then
  sweep_tags(turn, labels)
end
return reply
