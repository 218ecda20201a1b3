-- Set an operator's word over a circuit, or take it back.
--
-- KEYS     1 the circuit
-- ARGV     1 now · 2 mode, "-" for none · 3 for how long · 4 by whom · 5 why (both as core.state.encoding writes them)
-- Answers  {the line after, now}

local now = the_time()
local failures, opened_at, probe_until, probes, generation, tally, booked, _, _, _, _, _, _,
  paused_at, paused_until, debt = words_of(redis.call('GET', KEYS[1]))
local since, ends = '-', '-'
if ARGV[2] ~= '-' then since, ends = text(now), text(now + ARGV[3]) end

local after = line_of(
  failures, opened_at, probe_until, probes, generation, tally, booked, paused_at, paused_until, debt,
  ARGV[2], ends, ARGV[4], ARGV[5], since
)
keep(after, now, ends)
return {after, now}
