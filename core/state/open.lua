-- May an attempt go? What core.state.base.StateStore.open promises: a fresh answer, another call that fetches it, and
-- then the rule of core.policies.admission.admit.
--
-- KEYS     1 the circuit · 2, 3 when the last calls of the shared and of the reserved share went: rings of doubles ·
--          4 there while the wanted answer is fresh · 5 the lease on it (4 and 5 only when an answer is wanted):
--          "held since until owner" or "failed since until failure"
-- ARGV     1 now · 2 the policy: doubles, in the order below · 3 patience · 4 batch? · 5 health check? ·
--          6 owner · 7 how long it fetches · 8 has it waited? · 9 does it refresh?
-- Answers  {"fresh"} · {"elsewhere", left} · {"failed", failure} ·
--          {"circuit", left, wants a check?, the line if an operator forced it} · {"limiter", wait, now, what was booked if there are limits} ·
--          {"granted", generation, probe?, wait, owes?, failures, reserved?, now, what was booked if there are limits}

local has_breaker, recovery, probe_lease, longest_probe, most_probes, probes_by_check, looks_at_shares,
  has_limits, max_wait, longest_wait, is_exact, slots, minute_us, hour_us,
  minute_limit, minute_reach, minute_interval, minute_furthest, hour_limit, hour_reach, hour_interval, hour_furthest,
  has_reserved, r_minute_limit, r_minute_reach, r_minute_interval, r_minute_furthest,
  r_hour_limit, r_hour_reach, r_hour_interval, r_hour_furthest = struct.unpack('>ddddddddddddddddddddddddddddddd', ARGV[2])
local CHECK_DUE, UNCOUNTED, NEVER, TIME_BYTES = 1000000, -1, -1e18, 8
-- A lease that has ended is not gone at once: its owner may yet leave its failure to those who wait.
local LEASE_OUTLIVES_MS = 60000

local line, lease
if KEYS[4] then
  local is_fresh
  line, is_fresh, lease = unpack(redis.call('MGET', KEYS[1], KEYS[4], KEYS[5]))
  if is_fresh and ARGV[9] == '0' then return {'fresh'} end
else
  line = redis.call('GET', KEYS[1])
end
local now = the_time()

if lease then
  local word, since, ends, rest = string.match(lease, '^(%a+) (%d+) (%d+) (.*)$')
  -- One that begins in the future was given before the clock was set back.
  if word and tonumber(since) <= now and now < tonumber(ends) then
    if word == 'held' and rest ~= ARGV[6] then return {'elsewhere', ends - now} end
    if word == 'failed' and ARGV[8] == '1' then return {'failed', rest} end
  end
end

local failures, opened_at, probe_until, probes, generation, tally,
  booked, minute, hour, r_minute, r_hour, admitted, r_admitted, paused_at, paused_until, debt,
  mode, override_until, override_by, override_reason, override_since = words_of(line)

-- How long until the probes under way have to be over; 0 when there are none.
local function probe_left()
  local left = probe_until ~= '-' and probe_until - now or 0
  -- A lease longer than any can be was given before the clock was set back.
  return left > 0 and left <= longest_probe and left or 0
end

local is_probe, is_counted = false, true
if has_breaker == 1 and (opened_at ~= '-' or mode ~= '-') then
  local from, ends = tonumber(override_since), tonumber(override_until)
  local holds = from and ends and from <= now and now < ends
  if holds and mode == 'forced_open' then return {'circuit', ends - now, 0, line} end
  if holds and mode == 'forced_closed' then
    is_counted = false
  elseif opened_at ~= '-' then
    local since, left = now - opened_at, 0
    if since >= 0 and since < recovery then
      left = recovery - since
    elseif tonumber(probes) >= most_probes then
      left = probe_left()
    end
    local wants_check = left == 0 and probes_by_check == 1 and ARGV[5] == '0'
    if left == 0 and not wants_check then
      is_probe = true
    elseif holds then
      is_counted = false
    else
      return {'circuit', wants_check and CHECK_DUE or left, wants_check and 1 or 0}
    end
  end
end

local wait, is_reserved, seen = 0, false, ''
if has_limits == 1 then
  local went, exact_wait
  if is_exact == 1 then
    -- When the call of a share went that was the so-manieth before its next.
    went = function(ring, count, back)
      if back > tonumber(count) then return NEVER end
      local first = (count - back) % slots * TIME_BYTES
      local time = redis.call('GETRANGE', ring, first, first + TIME_BYTES - 1)
      return #time == TIME_BYTES and struct.unpack('>d', time) or NEVER
    end
    exact_wait = function(ring, count, per_minute, per_hour, from)
      return math.max(
        0, went(ring, count, 1) - from,
        went(ring, count, per_minute) + minute_us - from, went(ring, count, per_hour) + hour_us - from
      )
    end
  end

  -- How long until an attempt may go that cannot go before `from`, and whether it then goes by the reserved share.
  local function turn(from)
    local shared, reserved
    if is_exact == 1 then
      shared = exact_wait(KEYS[2], admitted, minute_limit, hour_limit, from)
    else
      shared = math.max(0, minute - minute_reach - from, hour - hour_reach - from)
    end
    if has_reserved == 0 or ARGV[4] == '1' then return shared, false end
    if is_exact == 1 then
      reserved = exact_wait(KEYS[3], r_admitted, r_minute_limit, r_hour_limit, from)
    else
      reserved = math.max(0, r_minute - r_minute_reach - from, r_hour - r_hour_reach - from)
    end
    if reserved <= shared then return reserved, true end
    return shared, false
  end

  local from, until_turn = now, 0
  if tonumber(paused_at) <= now then from = math.max(now, paused_until) end
  until_turn, is_reserved = turn(from)
  if until_turn > 0 then
    -- Forget what lies further ahead than any reservation could put it: then the clock was set back.
    local latest = now + longest_wait
    if minute - minute_furthest > latest then minute = '0' end
    if hour - hour_furthest > latest then hour = '0' end
    if r_minute - r_minute_furthest > latest then r_minute = '0' end
    if r_hour - r_hour_furthest > latest then r_hour = '0' end
    if is_exact == 1 and went(KEYS[2], admitted, 1) > latest then admitted = '0' end
    if is_exact == 1 and went(KEYS[3], r_admitted, 1) > latest then r_admitted = '0' end
    booked = line_of(minute, hour, r_minute, r_hour, admitted, r_admitted)
    until_turn, is_reserved = turn(from)
  end
  local at = from + until_turn
  wait = at - now
  if wait > 0 and wait > math.min(max_wait, ARGV[3]) then return {'limiter', wait, now, booked} end
  seen = booked

  local ring, count = KEYS[2], admitted
  if is_reserved then
    r_minute, r_hour = text(math.max(r_minute, at) + r_minute_interval), text(math.max(r_hour, at) + r_hour_interval)
    ring, count, r_admitted = KEYS[3], r_admitted, text(r_admitted + is_exact)
  else
    minute, hour = text(math.max(minute, at) + minute_interval), text(math.max(hour, at) + hour_interval)
    admitted = text(admitted + is_exact)
  end
  if is_exact == 1 then
    redis.call('SETRANGE', ring, count % slots * TIME_BYTES, struct.pack('>d', at))
    redis.call('PEXPIRE', ring, DAY_MS)
  end
elseif tonumber(paused_at) <= now then
  -- No limits of our own; what the provider asked for holds all the same.
  wait = math.max(0, paused_until - now)
  if wait > 0 and wait > tonumber(ARGV[3]) then return {'limiter', wait, now, ''} end
end

if is_probe then
  local lease_until = now + wait + probe_lease
  if probe_left() > 0 then
    probes, probe_until = text(probes + 1), text(math.max(lease_until, probe_until))
  else
    probes, probe_until, generation = '1', text(lease_until), text(generation + 1)
  end
end

if is_probe or has_limits == 1 then
  local after = line_of(
    failures, opened_at, probe_until, probes, generation, tally,
    minute, hour, r_minute, r_hour, admitted, r_admitted, paused_at, paused_until, debt,
    mode, override_until, override_by, override_reason, override_since
  )
  keep(after, now, override_until)
end
if KEYS[5] then
  local fetches = wait + ARGV[7]
  local held = string.format('held %.0f %.0f ', now, now + fetches) .. ARGV[6]
  redis.call('SET', KEYS[5], held, 'PX', math.ceil(fetches / 1000) + LEASE_OUTLIVES_MS)
end
local owes = is_probe or failures ~= '0' or debt ~= '0' or (has_breaker == 1 and looks_at_shares == 1)
return {
  'granted', is_counted and tonumber(generation) or UNCOUNTED, is_probe and 1 or 0, wait, owes and 1 or 0,
  tonumber(failures), is_reserved and 1 or 0, now, seen
}
