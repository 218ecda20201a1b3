-- How an attempt ended. The same rule as core.policies.admission.settle, on the server's own clock.
--
-- KEYS[1]  the circuit, as in admit.lua
-- ARGV     1 now ("" for the server's time) · 2 keep the circuit for so many ms
--          3 breaker? · 4 failure threshold
--          5 generation of the attempt · 6 probe? · 7 "well", "ill" or "nothing" · 8 pause
-- Answers  {circuit before, circuit after}, where "" is a circuit that nothing is known of
-- Times are microseconds.

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

local has_changed = false
local pause = tonumber(ARGV[8])
if pause > 0 then
  local holds = paused_at <= now and now < paused_until
  paused_until = math.max(holds and paused_until or 0, now + pause)
  paused_at = now
  has_changed = true
end

if ARGV[3] == '1' and tonumber(ARGV[5]) == generation then
  if ARGV[7] == 'well' and (opened_at or failures > 0) then
    if opened_at then generation = generation + 1 end
    failures, opened_at, probe_until = 0, nil, nil
    has_changed = true
  elseif ARGV[7] == 'ill' then
    failures = failures + 1
    if opened_at or failures >= tonumber(ARGV[4]) then
      opened_at, probe_until, generation = now, nil, generation + 1
    end
    has_changed = true
  elseif ARGV[7] == 'nothing' and ARGV[6] == '1' then
    probe_until = nil
    has_changed = true
  end
end

local after = kept
if has_changed then
  local function text(value) return value and string.format('%.0f', value) or '-' end
  after = table.concat({
    text(failures), text(opened_at), text(probe_until), text(generation),
    text(minute), text(hour), text(paused_at), text(paused_until)
  }, ' ')
  redis.call('SET', KEYS[1], after, 'PX', ARGV[2])
end
return {kept, after}
