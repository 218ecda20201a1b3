-- Comes before open.lua, settle.lua and steer.lua: what the time is, and how the line of core.state.encoding is taken
-- apart, put together and kept.
--
-- KEYS[1]  the circuit: its line
-- ARGV[1]  now; "" for the server's own time
--
-- Times are microseconds. Numbers are doubles, so they are exact up to 2^53, which as a time is the year 2255. A word
-- stays text, with which Lua can reckon (though not compare), so that what does not change is not written anew.

local DAY_MS = 86400000
local NOTHING_KNOWN = '0 - - 0 0 - 0 0 0 0 0 0 0 0 0 - - - - -'
local LINE = '^(%d+) ([%d-]+) ([%d-]+) (%d+) (%d+) (%S+) ((%d+) (%d+) (%d+) (%d+) (%d+) (%d+)) '
  .. '(%d+) (%d+) (%d+) (%S+) (%S+) (%S+) (%S+) (%S+)$'

local function the_time()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function or_nothing_known(failures, opened_at, probe_until, ...)
  if failures and (opened_at == '-' or tonumber(opened_at)) and (probe_until == '-' or tonumber(probe_until)) then
    return failures, opened_at, probe_until, ...
  end
  return string.match(NOTHING_KNOWN, LINE)
end

-- The words of a line; before the six that are booked, all of those as one. What is no such line (another version's, or
-- damaged) is a provider that nothing is known of.
local function words_of(line)
  return or_nothing_known(string.match(line or '', LINE))
end

local function text(number) return string.format('%.0f', number) end

local function line_of(...) return table.concat({...}, ' ') end

-- What is kept is there for a day after its last use, and for as long as the operator's word in it holds.
local function keep(line, now, override_until)
  local ends = tonumber(override_until)
  redis.call('SET', KEYS[1], line, 'PX', ends and math.max(DAY_MS, math.ceil((ends - now) / 1000)) or DAY_MS)
end
