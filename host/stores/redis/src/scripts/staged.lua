-- The import ARGV[1], with separate keys: one for each of its entries, by number from 1, and
-- `known`, a hash. It has the number of each `query_hash:namespace`, and a field without a
-- colon, `mode`, from the beginning.
local staged = p .. 'import:' .. ARGV[1] .. ':'
local known = staged .. 'known'
