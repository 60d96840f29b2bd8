-- Entries as arguments: thirteen each, the fields and the time of expiry, empty where there is
-- none, and then the fields that an entry has only where they are not empty.
local WIDTH = 13
local EXTRA = { context = 11, tags = 12 }

-- Sets all fields of an entry from the arguments at a place on.
local function write_fields(key, at)
  redis.call('HSET', key, 'namespace', ARGV[at], 'query_hash', ARGV[at + 1], 'query', ARGV[at + 2],
    'response', ARGV[at + 3], 'embedding', ARGV[at + 4], 'metadata', ARGV[at + 5],
    'created_at', ARGV[at + 6], 'last_accessed_at', ARGV[at + 7], 'ttl', ARGV[at + 8],
    'access_count', ARGV[at + 9])
  for name, offset in pairs(EXTRA) do
    if ARGV[at + offset] ~= '' then
      redis.call('HSET', key, name, ARGV[at + offset])
    end
  end
end
