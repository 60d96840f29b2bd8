-- The log of changes: a stream with an entry for each change, named by its version and its number
-- in that version, from 1. It holds an id, below zero where that was deleted. Of a version whose
-- first change is there, all are; so are all versions up to the last.
local function version_of(change)
  return tonumber(string.match(change[1], '^%d+'))
end

local function last_logged(call)
  local top = call('XREVRANGE', changes, '+', '-', 'COUNT', 1)
  return top[1] and version_of(top[1])
end
