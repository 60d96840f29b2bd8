-- How many entries there are, in the namespace ARGV[1] or in all.
return living(ARGV[1])
