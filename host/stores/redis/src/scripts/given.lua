-- Entries as arguments: eleven each, the fields and then the time of expiry, empty where there
-- is none.
local WIDTH = 11

-- Sets all fields of an entry from the arguments at a place on.
local function write_fields(key, at)
  redis.call('HSET', key, 'namespace', ARGV[at], 'query_hash', ARGV[at + 1], 'query', ARGV[at + 2],
    'response', ARGV[at + 3], 'embedding', ARGV[at + 4], 'metadata', ARGV[at + 5],
    'created_at', ARGV[at + 6], 'last_accessed_at', ARGV[at + 7], 'ttl', ARGV[at + 8],
    'access_count', ARGV[at + 9])
end
