-- Sets the quota of the namespace ARGV[1] to ARGV[2], or removes it where there is none.
local key = p .. 'quota:' .. ARGV[1]
if ARGV[2] then
  redis.call('SET', key, ARGV[2])
else
  redis.call('DEL', key)
end
return 0
