-- May an attempt go? The same rule as core.policies.admission.admit, on the server's own clock.
--
-- KEYS[1]  the circuit: "failures opened_at probe_until generation
--          minute_full_at hour_full_at paused_at paused_until"
-- ARGV     1 now ("" for the server's time) · 2 keep the circuit for so many ms
--          3 breaker? · 4 recovery · 5 probe lease · 6 longest wait of a probe
--          7 limits? · 8 longest wait of a call · 9 this call's patience
--          10, 11 capacity and interval of the minute · 12, 13 of the hour
-- Answers  {0, generation, is_probe, wait} · {1, retry_after} refused by the circuit · {2, retry_after} by a limit
-- Times are microseconds.

local function number(position) return tonumber(ARGV[position]) end

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local failures, opened_at, probe_until, generation, minute, hour, paused_at, paused_until =
  0, nil, nil, 0, 0, 0, 0, 0
local kept = redis.call('GET', KEYS[1]) or ''
local f, o, p, g, m, h, a, u = string.match(kept, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
if f then
  failures, opened_at, probe_until, generation = tonumber(f), tonumber(o), tonumber(p), tonumber(g)
  minute, hour, paused_at, paused_until = tonumber(m), tonumber(h), tonumber(a), tonumber(u)
end

local has_breaker, is_probe = ARGV[3] == '1', false
if has_breaker and opened_at then
  local since = now - opened_at
  if since >= 0 and since < number(4) then return {1, opened_at + number(4) - now} end
  local left = probe_until and probe_until - now or 0
  if left > 0 and left <= number(5) + number(6) then return {1, left} end
  is_probe = true
end

-- How long until a bucket that is full at `full_at` has a token.
local function bucket_wait(full_at, capacity, interval)
  return math.max(0, full_at - (capacity - 1) * interval - now)
end

-- `full_at`, or full when it lies further ahead than any reservation could put it: the clock was set back.
local function believable(full_at, capacity, interval)
  if full_at <= now + number(8) + capacity * interval then return full_at end
  return 0
end

local wait = 0
if ARGV[7] == '1' then
  minute = believable(minute, number(10), number(11))
  hour = believable(hour, number(12), number(13))
  local pause = paused_at <= now and paused_until - now or 0
  wait = math.max(
    bucket_wait(minute, number(10), number(11)), bucket_wait(hour, number(12), number(13)), pause
  )
  if wait > number(9) then return {2, wait} end
  minute = math.max(minute, now + wait) + number(11)
  hour = math.max(hour, now + wait) + number(13)
end

if is_probe then
  probe_until = now + wait + number(5)
  generation = generation + 1
end

if is_probe or ARGV[7] == '1' then
  local function text(value) return value and string.format('%.0f', value) or '-' end
  redis.call('SET', KEYS[1], table.concat({
    text(failures), text(opened_at), text(probe_until), text(generation),
    text(minute), text(hour), text(paused_at), text(paused_until)
  }, ' '), 'PX', ARGV[2])
end
return {0, generation, is_probe and 1 or 0, wait}
