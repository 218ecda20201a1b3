-- How an attempt ended: the rule of core.policies.admission.settle.
--
-- KEYS     1 the circuit
-- ARGV     1 now · 2 the policy: doubles, in the order below · 3 generation of the attempt · 4 was it a probe? ·
--          5 "well", "ill", "throttled" or "nothing" · 6 pause · 7 was it slow? (0 or 1)
-- Answers  {the line before, the line after}

local has_breaker, threshold, looks_at_shares, slice, minimum_calls, failure_percent, slow_percent,
  has_budget, whole_budget, costs, brings_back =
  struct.unpack('>' .. string.rep('d', 11), ARGV[2])
local settlement, pause = ARGV[5], tonumber(ARGV[6])
local HOUR, SLICES = 3600000000, 10

local before = redis.call('GET', KEYS[1])
local now = the_time()
local failures, opened_at, probe_until, probes, generation, tally, booked, _, _, _, _, _, _, paused_at, paused_until, debt,
  mode, override_until, override_by, override_reason, override_since = words_of(before)
failures, probes, generation, debt = tonumber(failures), tonumber(probes), tonumber(generation), tonumber(debt)
opened_at, probe_until = tonumber(opened_at), tonumber(probe_until)
paused_at, paused_until = tonumber(paused_at), tonumber(paused_until)

if pause > 0 then
  local holds_until = paused_at <= now and now < paused_until and paused_until or 0
  paused_at, paused_until = now, math.max(holds_until, now + math.min(pause, HOUR))
end

if has_budget == 1 then
  if settlement == 'well' then
    debt = math.max(0, debt - brings_back)
  elseif settlement ~= 'nothing' then
    debt = math.min(whole_budget, debt + costs)
  end
end

local function open_it()
  opened_at, probe_until, probes, generation, tally = now, nil, 0, generation + 1, '-'
end

-- Count the attempt in the tally (core.policies.tally), and open the circuit when a share is too large.
local function weigh(failed)
  local this, kept = (now - math.fmod(now, slice)) / slice, {}
  local calls, slow = 1, tonumber(ARGV[7])
  local all_calls, all_failed, all_slow = 0, 0, 0
  for number, old_calls, old_failed, old_slow in string.gmatch(tally, '(%d+):(%d+):(%d+):(%d+)') do
    number = tonumber(number)
    if number == this then
      calls, failed, slow = calls + old_calls, failed + old_failed, slow + old_slow
    elseif number < this and number > this - SLICES then
      kept[#kept + 1] = string.format('%.0f:%s:%s:%s', number, old_calls, old_failed, old_slow)
      all_calls, all_failed, all_slow = all_calls + old_calls, all_failed + old_failed, all_slow + old_slow
    end
  end
  kept[#kept + 1] = string.format('%.0f:%.0f:%.0f:%.0f', this, calls, failed, slow)
  all_calls, all_failed, all_slow = all_calls + calls, all_failed + failed, all_slow + slow
  local fail_too_often = failure_percent > 0 and all_failed * 100 >= failure_percent * all_calls
  local slow_too_often = slow_percent > 0 and all_slow * 100 >= slow_percent * all_calls
  if all_calls >= minimum_calls and (fail_too_often or slow_too_often) then
    open_it()
  else
    probe_until, probes, tally = nil, 0, table.concat(kept, ',')
  end
end

if tonumber(ARGV[3]) == generation then
  if settlement == 'well' and has_breaker == 1 then
    if opened_at then
      failures, opened_at, probe_until, probes, generation, tally, debt = 0, nil, nil, 0, generation + 1, '-', 0
    elseif looks_at_shares == 1 then
      failures = 0
      weigh(0)
    elseif failures > 0 then
      failures, probe_until, probes, tally = 0, nil, 0, '-'
    end
  elseif settlement == 'ill' and has_breaker == 1 then
    failures = failures + 1
    if opened_at or failures >= threshold then
      open_it()
    elseif looks_at_shares == 1 then
      weigh(1)
    else
      probe_until, probes, tally = nil, 0, '-'
    end
  elseif (settlement == 'throttled' or settlement == 'nothing') and ARGV[4] == '1' and probes > 0 then
    probes = probes - 1
    if probes == 0 then probe_until = nil end
  end
end

local after = line_of(
  text(failures), opened_at and text(opened_at) or '-', probe_until and text(probe_until) or '-', text(probes),
  text(generation), tally, booked, text(paused_at), text(paused_until), text(debt),
  mode, override_until, override_by, override_reason, override_since
)
if after ~= (before or NOTHING_KNOWN) then keep(after, now, override_until) end
return {before or NOTHING_KNOWN, after}
