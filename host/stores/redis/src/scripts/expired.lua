-- Looks at ARGV[4] members of by_ttl from ARGV[3] on, of the namespace ARGV[5] or of all, for
-- what is expired at ARGV[1] + ARGV[2]. Returns the version, how many members there were,
-- the ids of expired entries, the members that are out of date, those of entries that
-- Redis has expired among them, and 1 where there are more records than members.
local base, rest = tonumber(ARGV[1]), tonumber(ARGV[2])
local name = ARGV[5]
local latest = rest > 0 and '+inf' or whole(base)
local members = read('ZRANGEBYSCORE', by_ttl, '-inf', latest, 'LIMIT', ARGV[3], ARGV[4])
local ids, outdated = {}, {}
for _, member in ipairs(members) do
  local namespace, id = split(member)
  if id and (not name or namespace == name) then
    local fields = look(id)
    if fields and is_expired(fields, base, rest) then
      ids[#ids + 1] = id
    else
      outdated[#outdated + 1] = member
    end
  end
end
local surplus = read('HLEN', expiring) > read('ZCARD', by_ttl)
return {
  read('GET', version) or '0',
  #members,
  table.concat(ids, ' '),
  outdated,
  surplus and 1 or 0,
}
