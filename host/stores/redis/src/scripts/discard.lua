-- Forgets an import, and removes its entries from ARGV[2] to ARGV[3].
redis.call('UNLINK', known)
for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  redis.call('UNLINK', staged .. n)
end
return 0
