-- Gives `take` the ids above ARGV[1], ascending, until it has taken ARGV[2] rows or
-- ARGV[3] bytes. It returns the size of a row, nil for an id without entry. Returns
-- the last id looked at, and 1 where there was no more.
local function walk(take)
  local last, rows, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
  local looks = rows + 1000
  while rows > 0 and bytes > 0 and looks > 0 do
    local wanted = math.min(rows, 1000)
    local page = read('ZRANGEBYSCORE', by_id, '(' .. last, '+inf', 'WITHSCORES', 'LIMIT', 0, wanted)
    for i = 1, #page, 2 do
      local id = page[i]
      if not string.match(id, '^%d+$') or tonumber(id) ~= tonumber(page[i + 1]) then
        damaged(by_id, 'has the member ' .. id .. ' with the score ' .. page[i + 1])
      end
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
    if #page < 2 * wanted then
      return last, 1
    end
  end
  return last, 0
end
