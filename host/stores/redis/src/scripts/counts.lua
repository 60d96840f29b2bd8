-- The namespaces that hold entries, and how many each.
local ghosts = {}
each_ghost(function(namespace, id)
  if redis.pcall('ZSCORE', p .. 'lru:' .. namespace, id) then
    ghosts[namespace] = (ghosts[namespace] or 0) + 1
  end
end)
local names, counts = {}, {}
for _, name in ipairs(read('SMEMBERS', namespaces)) do
  local count = read('ZCARD', p .. 'lru:' .. name) - (ghosts[name] or 0)
  if count > 0 then
    local n = #names + 1
    names[n], counts[n] = name, count
  end
end
return { names, counts }
