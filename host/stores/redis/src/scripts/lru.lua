-- The ARGV[1] least recently used entries of the namespace ARGV[2] or of all, as ids,
-- namespaces and creation times.

-- Yields the members of a namespace's zset by score, then numerically. Redis orders the
-- members of one score as text, which among texts of one length is numerically.
local function cursor(name)
  local key, offset, chunk = p .. 'lru:' .. name, 0, 16
  local page, at = {}, 1
  local ready, next_ready = {}, 1
  local function fetch()
    page = read('ZRANGE', key, offset, offset + chunk - 1, 'WITHSCORES')
    offset, chunk, at = offset + #page / 2, math.min(chunk * 2, 4096), 1
  end
  local function gather()
    local score, lengths, longest = nil, {}, 0
    while true do
      if at > #page then
        fetch()
        if #page == 0 then
          break
        end
      end
      if score and page[at + 1] ~= score then
        break
      end
      score = page[at + 1]
      local id = page[at]
      lengths[#id] = lengths[#id] or {}
      table.insert(lengths[#id], id)
      longest, at = math.max(longest, #id), at + 2
    end
    ready, next_ready = {}, 1
    for length = 1, longest do
      for _, id in ipairs(lengths[length] or {}) do
        ready[#ready + 1] = { tonumber(score), id, name }
      end
    end
  end
  return function()
    if next_ready > #ready then
      gather()
    end
    next_ready = next_ready + 1
    return ready[next_ready - 1]
  end
end

local function before(a, b)
  if a[1] ~= b[1] then
    return a[1] < b[1]
  end
  return tonumber(a[2]) < tonumber(b[2])
end

-- A binary heap of the cursors, by what each yields next.
local heap = {}

local function sink(i)
  while true do
    local least = i
    for child = 2 * i, 2 * i + 1 do
      if heap[child] and before(heap[child].head, heap[least].head) then
        least = child
      end
    end
    if least == i then
      return
    end
    heap[i], heap[least] = heap[least], heap[i]
    i = least
  end
end

for _, name in ipairs(ARGV[2] and { ARGV[2] } or read('SMEMBERS', namespaces)) do
  local following = cursor(name)
  local head = following()
  if head then
    heap[#heap + 1] = { head = head, following = following }
  end
end
for i = math.floor(#heap / 2), 1, -1 do
  sink(i)
end

local wanted = tonumber(ARGV[1])
local ids, names, times = {}, {}, {}
while #ids < wanted and heap[1] do
  local id, name = heap[1].head[2], heap[1].head[3]
  local fields = look(id)
  if fields then
    local n = #ids + 1
    ids[n], names[n], times[n] = id, name, fields[3]
  end
  heap[1].head = heap[1].following()
  if not heap[1].head then
    heap[1] = heap[#heap]
    heap[#heap] = nil
  end
  if heap[1] then
    sink(1)
  end
end
return { ids, names, times }
