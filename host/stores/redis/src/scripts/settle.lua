-- Moves the counters on where this server was not used before: another one may have counted
-- further. Nobody was given what it counts from now on, and nobody follows the log across the gap.
local BEYOND = 1000000

check()
local counts, last = {}, 0
for _, key in ipairs({ version, next_id }) do
  counts[key] = tonumber(read('GET', key) or 0)
  last = math.max(last, counts[key])
end
if counts[version] > 0 and last + BEYOND < GREATEST / 2 then
  for key, count in pairs(counts) do
    redis.call('SET', key, whole(count + BEYOND))
  end
  redis.call('UNLINK', changes)
end
return 0
