-- A page of whole entries.
local rows = {}
local last, ended = walk(of_all, function(id)
  local found = row(id, true)
  if found then
    rows[#rows + 1] = found
    local size = 0
    for i = 1, #found do
      size = size + #(found[i] or '')
    end
    return size
  end
end)
return { last, ended, rows }
