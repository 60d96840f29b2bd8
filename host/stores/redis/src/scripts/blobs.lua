-- Deletes the blobs in ARGV.
read('HLEN', p .. 'blobs')
for _, name in ipairs(ARGV) do
  redis.call('HDEL', p .. 'blobs', name)
end
return 0
