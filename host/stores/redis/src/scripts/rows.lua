-- The entries with the ids in ARGV[1].
local rows = {}
for id in string.gmatch(ARGV[1], '%d+') do
  rows[#rows + 1] = row(id)
end
return rows
