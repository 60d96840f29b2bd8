-- A page of whole entries.
local rows = {}
local last, ended = walk(function(id)
  local found = row(id)
  if found then
    rows[#rows + 1] = found
    local size = 0
    for i = 1, 11 do
      size = size + #(found[i] or '')
    end
    return size
  end
end)
return { last, ended, rows }
