-- An entry as a row: its id and its fields, the last of which is left out where no vectors are
-- wanted.
local FIELDS = { 'namespace', 'query_hash', 'query', 'response', 'metadata', 'created_at',
  'last_accessed_at', 'ttl', 'access_count', 'context', 'tags', 'embedding' }
local function row(id, vectors)
  local key = p .. 'entry:' .. id
  local fields = read('HMGET', key, unpack(FIELDS, 1, vectors and #FIELDS or #FIELDS - 1))
  if fields[1] or fields[2] or fields[6] then
    return { id, unpack(fields) }
  end
end
