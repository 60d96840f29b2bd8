-- Gives `take` the namespace and id of each entry that Redis has expired while other keys
-- still name it.
local function each_ghost(take)
  local now, offset = whole(clock()), 0
  repeat
    local members = read('ZRANGEBYSCORE', by_ttl, '-inf', now, 'LIMIT', offset, 10000)
    for _, member in ipairs(members) do
      local namespace, id = split(member)
      if id and not peek(id) then
        take(namespace, id)
      end
    end
    offset = offset + #members
  until #members < 10000
end

-- How many entries there are, in a namespace or in all.
local function living(name)
  local ids = name and p .. 'lru:' .. name or by_id
  local count = read('ZCARD', ids)
  if count > 0 then
    each_ghost(function(namespace, id)
      if (not name or namespace == name) and redis.call('ZSCORE', ids, id) then
        count = count - 1
      end
    end)
  end
  return count
end
