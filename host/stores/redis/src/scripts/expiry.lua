-- Whether an entry is expired at a time that is given as the sum of two numbers, as it may be
-- greater than one holds exactly. Nil where the fields are no numbers.
local function is_expired(fields, base, rest)
  local created, ttl = number(fields[3]), number(fields[4])
  return created and ttl and ttl - rest <= base - created
end
