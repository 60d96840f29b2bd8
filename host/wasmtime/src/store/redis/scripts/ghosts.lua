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
