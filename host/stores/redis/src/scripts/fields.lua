-- A whole entry as a row: its id and its fields.
local function row(id)
  local fields = read('HMGET', p .. 'entry:' .. id, 'namespace', 'query_hash', 'query',
    'response', 'embedding', 'metadata', 'created_at', 'last_accessed_at', 'ttl', 'access_count')
  if fields[1] or fields[2] or fields[7] then
    return { id, unpack(fields, 1, 10) }
  end
end
