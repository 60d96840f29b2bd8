-- How many entries the namespaces ARGV[2] and so on hold, without those that hold none. No names mean
-- all, and of more than ARGV[1] the names alone.
local asked = {}
if #ARGV > 1 then
  for i = 2, #ARGV do
    asked[i - 1] = ARGV[i]
  end
else
  asked = read('SMEMBERS', namespaces)
  if #asked > tonumber(ARGV[1]) then
    return { asked, {} }
  end
end
local ghosts = {}
each_ghost(function(namespace, id)
  if redis.pcall('ZSCORE', p .. 'lru:' .. namespace, id) then
    ghosts[namespace] = (ghosts[namespace] or 0) + 1
  end
end)
local names, counts = {}, {}
for _, name in ipairs(asked) do
  local count = read('ZCARD', p .. 'lru:' .. name) - (ghosts[name] or 0)
  if count > 0 then
    local n = #names + 1
    names[n], counts[n] = name, count
  end
end
return { names, counts }
