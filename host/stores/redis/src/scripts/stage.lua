-- Adds entries to an import, the first under the number ARGV[2], each kept for ARGV[3] seconds.
-- Returns `gone` where the import is not as it was left, `twice` and the place of an entry
-- that it already has, or `staged` and how many seconds its first entry is kept.
local first, seconds = tonumber(ARGV[2]), ARGV[3]
if read('HLEN', known) ~= first then
  return { 'gone', 0 }
end
local n = first
for at = 4, #ARGV, WIDTH do
  -- The first write is one that Redis refuses when its memory is full.
  if redis.call('HSETNX', known, ARGV[at + 1] .. ':' .. ARGV[at], n) == 0 then
    return { 'twice', n - first }
  end
  redis.call('DEL', staged .. n)
  write_fields(staged .. n, at)
  redis.call('EXPIRE', staged .. n, seconds)
  n = n + 1
end
redis.call('EXPIRE', known, seconds)
return { 'staged', redis.call('TTL', staged .. 1) }
