-- The namespaces that hold entries.
local ghosts = {}
each_ghost(function(namespace, id)
  if redis.pcall('ZSCORE', p .. 'lru:' .. namespace, id) then
    ghosts[namespace] = (ghosts[namespace] or 0) + 1
  end
end)
local names = {}
for _, name in ipairs(read('SMEMBERS', namespaces)) do
  if read('ZCARD', p .. 'lru:' .. name) > (ghosts[name] or 0) then
    names[#names + 1] = name
  end
end
return names
