-- Deletes the first ARGV[5] of the entries ARGV[4] that are expired at ARGV[2] + ARGV[3], if
-- the version is ARGV[1] or that is `-`; else returns nothing. Returns ids, namespaces,
-- creation times, the new version and how many entries it looked at.
local base, rest, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
check()
if ARGV[1] ~= '-' and (read('GET', version) or '0') ~= ARGV[1] then
  return false
end
local doomed, looked = {}, 0
for id in string.gmatch(ARGV[4], '%d+') do
  if #doomed >= limit then
    break
  end
  looked = looked + 1
  local fields = look(id)
  if fields and is_expired(fields, base, rest) then
    doomed[#doomed + 1] = { id, fields[1], fields[2], fields[5], fields[3] }
  end
end
local ids, names, times = {}, {}, {}
for i, entry in ipairs(doomed) do
  remove(unpack(entry, 1, 4))
  ids[i], names[i], times[i] = entry[1], entry[2] or '', entry[5]
end
if #ids > 0 then
  moved(ids, '-')
end
return { ids, names, times, redis.call('GET', version) or '0', looked }
