-- A page of the vector column, for embeddings of ARGV[4] bytes.
local length = tonumber(ARGV[4])
local ids, names, contexts, times, vectors = {}, {}, {}, {}, {}
local last, ended = walk(of_all, function(id)
  local key = p .. 'entry:' .. id
  local fields = read('HMGET', key, 'namespace', 'created_at', 'embedding', 'query_hash', 'context')
  if fields[1] or fields[2] or fields[4] then
    local vector = fields[3]
    if not vector or #vector ~= length then
      damaged(key, 'field embedding has ' .. #(vector or '') .. ' bytes, where ' .. length .. ' are needed')
    end
    local n = #ids + 1
    ids[n], names[n], contexts[n] = id, fields[1], fields[5] or ''
    times[n], vectors[n] = fields[2], vector
    return length
  end
end)
-- Not joined: Lua hashes every byte of a new string.
return { last, ended, ids, names, contexts, times, vectors }
