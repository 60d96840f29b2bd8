-- A step of a walk over the names of all keys: the cursor, the pattern, and a hint of how many keys
-- to look at.
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
