-- Puts members of by_ttl right that are out of date: other programs leave them behind.
check()
for _, member in ipairs(ARGV) do
  local namespace, id = split(member)
  local fields = peek(id)
  if not fields then
    remove(id, namespace)
  elseif not fields.err then
    local created, ttl = number(fields[3]), number(fields[4])
    if not fields[4] or fields[4] == '' then
      redis.call('ZREM', by_ttl, member)
      redis.call('HDEL', expiring, id)
    elseif created and ttl then
      redis.call('ZADD', by_ttl, whole(created + ttl), member)
    end
  end
end
return 0
