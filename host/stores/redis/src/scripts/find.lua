-- The entries under pairs of namespace and hash, with their vectors where ARGV[1] is 1.
local rows = {}
for i = 2, #ARGV, 2 do
  local key = p .. 'hash:' .. ARGV[i] .. ':' .. ARGV[i + 1]
  local id = read('GET', key)
  if id and not string.match(id, '^%d+$') then
    damaged(key, 'holds no id')
  end
  rows[#rows + 1] = id and row(id, ARGV[1] == '1') or false
end
return rows
