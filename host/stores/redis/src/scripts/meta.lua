-- Sets the key ARGV[1] of the meta hash to ARGV[5], or removes it where ARGV[4] is 0, if it
-- holds ARGV[3], or nothing where ARGV[2] is 0. Returns whether it did.
local meta = p .. 'meta'
local value = read('HGET', meta, ARGV[1])
local expected = ARGV[2] == '1' and ARGV[3]
if value ~= expected then
  return 0
end
if ARGV[4] == '1' then
  redis.call('HSET', meta, ARGV[1], ARGV[5])
else
  redis.call('HDEL', meta, ARGV[1])
end
return 1
