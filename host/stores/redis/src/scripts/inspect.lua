-- Checks a page of entries, with embeddings of ARGV[4] bytes. Returns the last id looked at,
-- 1 where there was no more, and 1 where all are sound.
local length = tonumber(ARGV[4])
local sound = 1

local function is_sound(id)
  local key = p .. 'entry:' .. id
  local fields = read('HMGET', key, 'namespace', 'query_hash', 'created_at', 'last_accessed_at',
    'access_count', 'query', 'response', 'metadata', 'ttl', 'tags')
  for i = 1, 8 do
    if not fields[i] then
      return false
    end
  end
  if not (number(fields[3]) and number(fields[4]) and number(fields[5])) then
    return false
  end
  if fields[9] and fields[9] ~= '' and not number(fields[9]) then
    return false
  end
  if read('HSTRLEN', key, 'embedding') ~= length then
    return false
  end
  if not read('ZSCORE', p .. 'lru:' .. fields[1], id) then
    return false
  end
  if fields[10] then
    local list = tags_in(fields[10])
    if not list then
      return false
    end
    for _, tag in ipairs(list) do
      if not read('ZSCORE', by_tag, member(tag, id)) then
        return false
      end
    end
  end
  local named = read('GET', p .. 'hash:' .. fields[1] .. ':' .. fields[2])
  if named == id then
    return true
  end
  -- Another program can store one pair twice at a time; the hash key names the later one.
  local other = named and look(named)
  return other and other[1] == fields[1] and other[2] == fields[2]
end

check()
check_tags()
local top = read('ZREVRANGE', by_id, 0, 0)
if top[1] and tonumber(top[1]) and tonumber(top[1]) > tonumber(read('GET', next_id) or 0) then
  sound = 0
end
local last, ended = walk(of_all, function(id)
  if sound == 1 and look(id) then
    sound = is_sound(id) and 1 or 0
    return 0
  end
end)
return { last, ended, sound }
