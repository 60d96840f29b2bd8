-- How many entries there are, in the namespace ARGV[1] or in all.
local name = ARGV[1]
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
