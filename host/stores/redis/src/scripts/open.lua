-- Returns the schema version, fingerprint and dimensions recorded, how many entries there are,
-- and the incarnation, empty where none can be recorded. Records version ARGV[1], fingerprint
-- ARGV[2], dimensions ARGV[3] and incarnation ARGV[4] where none is, if those that are there agree.
local meta = p .. 'meta'
local types = { [meta] = 'hash', [expiring] = 'hash', [tagged] = 'hash', [by_id] = 'zset',
  [by_ttl] = 'zset', [by_tag] = 'zset',
  [namespaces] = 'set', [version] = 'string', [next_id] = 'string',
  [p .. 'incarnation'] = 'string' }
for key, expected in pairs(types) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= expected then
    damaged(key, 'is of the type ' .. found .. ' in place of ' .. expected)
  end
end
check()
local names = { 'schema_version', 'embedder_fingerprint', 'embedder_dim' }
local found = read('HMGET', meta, unpack(names))
local entries = read('ZCARD', by_id)
local missing = {}
for i, name in ipairs(names) do
  if not found[i] then
    missing[#missing + 1] = name
    missing[#missing + 1] = ARGV[i]
  elseif found[i] ~= ARGV[i] then
    return { found[1], found[2], found[3], entries, '' }
  end
end
local ours = ''

if entries == 0 or (found[2] and found[3]) then
  if #missing > 0 then
    redis.call('HSET', meta, unpack(missing))
  end
  for _, key in ipairs({ version, next_id }) do
    if redis.call('EXISTS', key) == 0 then
      redis.call('SET', key, '0')
    end
  end
  -- A replica, or a server whose memory is full, can still be read.
  redis.pcall('SET', p .. 'incarnation', ARGV[4], 'NX')
  ours = redis.call('GET', p .. 'incarnation') or ''
end
return { found[1], found[2], found[3], entries, ours }
