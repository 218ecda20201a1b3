-- End a lease, if it is still its owner's, and leave a failure, if there is one, to those who wait for the answer.
--
-- KEYS     1 the lease: "held since until owner" or "failed since until failure"
-- ARGV     1 now; "" for the server's own time · 2 owner · 3 for how long the failure is left; "" for none · 4 failure

local LEASE_OUTLIVES_MS = 60000

local owner = string.match(redis.call('GET', KEYS[1]) or '', '^held %d+ %d+ (.*)$')
if owner ~= ARGV[2] then return end
if ARGV[3] == '' then
  redis.call('DEL', KEYS[1])
  return
end
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local left = string.format('failed %.0f %.0f ', now, now + ARGV[3]) .. ARGV[4]
redis.call('SET', KEYS[1], left, 'PX', math.ceil(ARGV[3] / 1000) + LEASE_OUTLIVES_MS)
