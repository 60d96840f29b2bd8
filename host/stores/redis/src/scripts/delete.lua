-- Deletes entries: an id and a creation time each, `-` for any. Returns the ids deleted.
local doomed, ghosts, seen = {}, {}, {}
check()
for id, created in string.gmatch(ARGV[1], '(%d+) (%S+)') do
  -- An entry may be named in several versions; one of them is right.
  if not seen[id] then
    local any = created == '-'
    local fields = any and peek(id) or look(id)
    if not fields then
      seen[id] = true
      if redis.call('ZSCORE', by_id, id) then
        ghosts[#ghosts + 1] = id
      end
    elseif any or number(fields[3]) == tonumber(created) then
      seen[id] = true
      doomed[#doomed + 1] = { id, fields[1], fields[2], fields[5] }
    end
  end
end
local ids = {}
for i, entry in ipairs(doomed) do
  remove(unpack(entry, 1, 4))
  ids[i] = entry[1]
end
for _, id in ipairs(ghosts) do
  remove(id)
end
if #ids > 0 then
  moved(ids, '-')
end
return ids
