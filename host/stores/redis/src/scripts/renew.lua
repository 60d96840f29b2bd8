-- Keeps the entries from ARGV[2] to ARGV[3] of an import for ARGV[4] seconds from now.
for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  redis.call('EXPIRE', staged .. n, ARGV[4])
end
return 0
