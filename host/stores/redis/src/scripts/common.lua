-- What every script begins with. The keys of a cache share a prefix, and so in a cluster a
-- node where the prefix has a hash tag; all but KEYS[1] are named here.

local by_id = KEYS[1]
local p = string.sub(by_id, 1, -6)
local by_ttl, expiring = p .. 'by_ttl', p .. 'expiring'
local by_tag, tagged, changes = p .. 'by_tag', p .. 'tagged', p .. 'changes'
local namespaces, version, next_id = p .. 'namespaces', p .. 'version', p .. 'next_id'

-- A cluster that moves a slot has some of its keys at one node and some at another, and no script
-- may take those for all. A node refuses two keys that never exist while it gives or takes the slot.
if string.find(p, '{[^}]+}') then
  local asked = redis.pcall('EXISTS', p .. 'never', p .. 'nowhere')
  if type(asked) == 'table' and asked.err then
    error(string.find(asked.err, 'non local key', 1, true) and 'MNEME-MOVES' or asked.err, 0)
  end
end

-- Every script is told last which cache it is for, empty where it need not be one.
local incarnation = table.remove(ARGV)
if incarnation ~= '' and redis.call('GET', p .. 'incarnation') ~= incarnation then
  error('MNEME-VANISHED', 0)
end

-- The greatest number that a double holds exactly, with all below.
local GREATEST = 9007199254740991

local function damaged(key, what)
  error('MNEME-CORRUPT key ' .. key .. ' ' .. what, 0)
end

-- A read that tells damage from other failures.
local function read(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'WRONGTYPE', 1, true) then
      damaged(key, 'is of the wrong type')
    end
    if string.find(reply.err, "can't run this command", 1, true) then
      error('MNEME-RIGHTS ' .. command .. ' ', 0)
    end
    error(reply.err, 0)
  end
  return reply
end

-- The text of a whole number; `..` would round it to 14 digits.
local function whole(number)
  return string.format('%.0f', number)
end

-- A count or a time as a field holds it: never below zero, never a fraction.
local function number(text)
  local value = text and tonumber(text)
  if not value or value ~= value then
    return nil
  end
  return math.max(math.floor(value), 0)
end

-- The seconds on the server's clock.
local function clock()
  return tonumber(redis.call('TIME')[1])
end

-- The fields in HEAD of an entry, the first three of which are not there where Redis has
-- expired it: a touch that came too late may have left the access fields alone. Nil for such
-- an entry, or for none.
local HEAD = { 'namespace', 'query_hash', 'created_at', 'ttl', 'tags', 'context' }
local function alive(fields)
  if fields.err or fields[1] or fields[2] or fields[3] then
    return fields
  end
end

local function look(id)
  return alive(read('HMGET', p .. 'entry:' .. id, unpack(HEAD)))
end

-- The same, without an error for a key of the wrong type, which has no fields.
local function peek(id)
  return alive(redis.pcall('HMGET', p .. 'entry:' .. id, unpack(HEAD)))
end

-- The namespace and id in a member of by_ttl. The namespace may hold any character.
local function split(member)
  return string.match(member, '^(.*)|(%d+)$')
end
