-- Sets the blob ARGV[1] to ARGV[2].
read('HLEN', p .. 'blobs')
redis.call('HSET', p .. 'blobs', ARGV[1], ARGV[2])
return 0
