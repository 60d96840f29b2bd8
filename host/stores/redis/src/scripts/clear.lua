-- Deletes the first ARGV[1] entries of the namespace ARGV[2] or of all. Returns how many
-- it deleted, and 1 where there may be more.
check()
local deleted, more = clear(tonumber(ARGV[1]), ARGV[2])
if #deleted > 0 then
  moved(deleted, '-')
end
return { #deleted, more and 1 or 0 }
