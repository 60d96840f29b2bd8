-- The entries by their tags: `by_tag`, a sorted set in the order of its bytes, as all its scores
-- are 0. It has a member for each tag of each entry: the tag, a zero byte, which no tag has, and
-- the id in 16 digits. Members of entries that are gone may be left.
local function member(tag, id)
  return tag .. '\0' .. string.rep('0', 16 - #id) .. id
end

-- The id in a member.
local function tagged_id(member)
  return string.match(member, '0*(%d+)$', -16)
end

-- The tags in a field, which is a JSON array of texts. Nil where it is anything else.
local function tags_in(text)
  local good, list = pcall(cjson.decode, text)
  if not good or type(list) ~= 'table' then
    return nil
  end
  for place, tag in pairs(list) do
    if type(place) ~= 'number' or type(tag) ~= 'string' then
      return nil
    end
  end
  return list
end
