-- A page of the entries that meet a filter, as ids, namespaces and creation times. The filter: 1
-- and a namespace or 0, 1 and a context or 0, the earliest and the first later creation time,
-- each empty where it does not count, and the tags.
local namespace = ARGV[5] == '1' and ARGV[6]
local context = ARGV[7] == '1' and ARGV[8]
local from, before = tonumber(ARGV[9]), tonumber(ARGV[10])
local wanted = { unpack(ARGV, 11) }

local function meets(id, fields)
  local created = number(fields[3])
  if namespace and fields[1] ~= namespace or context and (fields[6] or '') ~= context then
    return false
  end
  if created and (from and created < from or before and created >= before) then
    return false
  end
  if wanted[1] then
    local list, has = fields[5] and tags_in(fields[5]), {}
    if fields[5] and not list then
      damaged(p .. 'entry:' .. id, 'field tags holds no JSON array of texts')
    end
    for _, tag in ipairs(list or {}) do
      has[tag] = true
    end
    for _, tag in ipairs(wanted) do
      if not has[tag] then
        return false
      end
    end
  end
  return true
end

-- Lists the ids under the tag that the fewest entries have.
local function of_tag()
  local rarest, fewest
  for _, tag in ipairs(wanted) do
    local count = read('ZLEXCOUNT', by_tag, '[' .. tag .. '\0', '(' .. tag .. '\1')
    if not fewest or count < fewest then
      rarest, fewest = tag, count
    end
  end
  return function(last, count)
    local first, beyond = '(' .. member(rarest, last), '(' .. rarest .. '\1'
    local ids = read('ZRANGEBYLEX', by_tag, first, beyond, 'LIMIT', 0, count)
    for i, name in ipairs(ids) do
      ids[i] = tagged_id(name) or damaged(by_tag, 'has a member without an id')
    end
    return ids
  end
end

-- Lists the ids of a namespace with few entries.
local function of_namespace()
  local lru, at = p .. 'lru:' .. namespace, 1
  local ids = read('ZRANGE', lru, 0, -1)
  for _, id in ipairs(ids) do
    if not string.match(id, '^%d+$') then
      damaged(lru, 'has the member ' .. id .. ', which is no id')
    end
  end
  table.sort(ids, function(a, b)
    return tonumber(a) < tonumber(b)
  end)
  return function(last, count)
    while ids[at] and tonumber(ids[at]) <= tonumber(last) do
      at = at + 1
    end
    return { unpack(ids, at, math.min(at + count - 1, #ids)) }
  end
end

local list = of_all
if wanted[1] then
  list = of_tag()
elseif namespace and read('ZCARD', p .. 'lru:' .. namespace) <= 1000 then
  list = of_namespace()
end
local ids, names, times = {}, {}, {}
local last, ended = walk(list, function(id)
  local fields = look(id)
  if fields and meets(id, fields) then
    local n = #ids + 1
    ids[n], names[n], times[n] = id, fields[1], fields[3]
    return 0
  end
end)
return { last, ended, ids, names, times }
