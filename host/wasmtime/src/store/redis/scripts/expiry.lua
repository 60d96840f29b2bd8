-- Expiry at a time that is given as the sum of two numbers, as it may be greater than a
-- number holds exactly.

-- Whether a live entry is expired; nil where its fields are no numbers.
local function is_expired(fields, base, rest)
  local created, ttl = number(fields[3]), number(fields[4])
  return created and ttl and ttl - rest <= base - created
end

-- The record of an entry that Redis has expired, if it is that of its last version.
local function ghost(id, base, rest)
  local record = recorded(id)
  if record then
    local expires = tonumber(record.expires)
    local score = read('ZSCORE', by_ttl, record.namespace .. '|' .. id)
    if score and tonumber(score) == expires and expires - rest <= base then
      return record
    end
  end
end
