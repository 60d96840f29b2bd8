-- A page of ids with their creation times.
local stamps = {}
local last, ended = walk(of_all, function(id)
  local fields = read('HMGET', p .. 'entry:' .. id, 'created_at', 'namespace', 'query_hash')
  if fields[1] or fields[2] or fields[3] then
    stamps[#stamps + 1] = id
    stamps[#stamps + 1] = fields[1] or '-'
    return 0
  end
end)
return { last, ended, table.concat(stamps, ' ') }
