-- The first ids above `last` of all entries, at most `count`.
local function of_all(last, count)
  local page = read('ZRANGEBYSCORE', by_id, '(' .. last, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
  local ids = {}
  for i = 1, #page, 2 do
    if not string.match(page[i], '^%d+$') or tonumber(page[i]) ~= tonumber(page[i + 1]) then
      damaged(by_id, 'has the member ' .. page[i] .. ' with the score ' .. page[i + 1])
    end
    ids[#ids + 1] = page[i]
  end
  return ids
end

-- Gives `take` the ids above ARGV[1] that `list` lists as `of_all` does, ascending, until it has
-- taken ARGV[2] rows or ARGV[3] bytes, or has looked at 1,000 others. It returns the size of a
-- row, nil for an id without. Returns the last id looked at, and 1 where there was no more.
local function walk(list, take)
  local last, rows, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
  local looks = rows + 1000
  while rows > 0 and bytes > 0 and looks > 0 do
    local wanted = math.min(rows, 1000)
    local page = list(last, wanted)
    for _, id in ipairs(page) do
      last = id
      looks = looks - 1
      local size = take(id)
      if size then
        rows, bytes = rows - 1, bytes - size
        if bytes <= 0 then
          return last, 0
        end
      end
    end
    if #page < wanted then
      return last, 1
    end
  end
  return last, 0
end
