-- What the writes did after the version ARGV[1]: the first whole versions, as many as ARGV[2]
-- changes hold, or one. Returns the version up to which these are all, and a version and an id
-- for each change; nothing where the log does not know.
local after, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(read('GET', version) or 0)
if not now then
  damaged(version, 'holds something that is not a count')
end
if after == now then
  return { ARGV[1], '' }
end
local first = whole(after + 1)
if after > now or last_logged(read) ~= now or not read('XRANGE', changes, first .. '-1', first .. '-1')[1] then
  return false
end

-- One more than the limit, to see which versions are whole.
local found, from = {}, first
repeat
  local wanted = math.min(limit + 1 - #found, 1000)
  local page = read('XRANGE', changes, from, '+', 'COUNT', wanted)
  for _, change in ipairs(page) do
    found[#found + 1] = change
  end
  if page[1] then
    local last, number = string.match(page[#page][1], '^(%d+)-(%d+)$')
    from = last .. '-' .. whole(number + 1)
  end
until #page < wanted or #found > limit
if #found > limit then
  local cut = version_of(found[#found])
  while found[1] and version_of(found[#found]) == cut do
    found[#found] = nil
  end
  if not found[1] then
    found = read('XRANGE', changes, first, first)
  end
end
local parts = {}
for i, change in ipairs(found) do
  parts[i] = string.match(change[1], '^%d+') .. ' ' .. change[2][2]
end
return { whole(version_of(found[#found])), table.concat(parts, ' ') }
