-- The entries with the ids in ARGV[2], with their vectors where ARGV[1] is 1.
local rows = {}
for id in string.gmatch(ARGV[2], '%d+') do
  rows[#rows + 1] = row(id, ARGV[1] == '1')
end
return rows
