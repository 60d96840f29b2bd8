-- Begins an import in the mode ARGV[1], kept for ARGV[2] seconds. Returns its name, or nothing
-- where the mode is `empty` and there are entries.
check()
if ARGV[1] == 'empty' and living() > 0 then
  return false
end
local time = redis.call('TIME')
local import = time[1] * 1000000 + time[2]
local function known()
  return p .. 'import:' .. whole(import) .. ':known'
end
while redis.call('EXISTS', known()) == 1 do
  import = import + 1
end
redis.call('HSET', known(), 'mode', ARGV[1])
redis.call('EXPIRE', known(), ARGV[2])
return whole(import)
