#!lua
-- Spends all charges or none; the same arithmetic as Quota::admit, in whole microseconds, which a double holds exactly below 2^53.
--
-- KEYS: one for each charge; a key that comes again pays again.
-- ARGV: the time in Unix microseconds, 0 for the server's own; how many milliseconds a number is kept when it is worth nothing;
--       then for each charge what must be free, the whole budget, and the price, in microseconds.
-- Answer: 1 if spent, else 0; the time; what was kept under each key, `0` for nothing. Or -1 and which key holds no such number.
--
-- Everything is read and judged before anything is written. Without flags in its first line it is refused as a whole where it
-- could not write: on a replica, without memory, when the disk fails.
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local answer, fits, tats = {1, now}, true, {}
for i, key in ipairs(KEYS) do
  local kept = redis.pcall('GET', key) or '0'
  if type(kept) ~= 'string' or #kept > 16 or not string.find(kept, '^%d+$') then
    return {-1, i}
  end
  answer[i + 2] = kept
  local need, budget, price = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  local used = math.max(tats[key] or tonumber(kept), now) - now
  if need > budget - used then
    fits = false
  elseif price > 0 then
    tats[key] = now + used + price
  end
end
if not fits then
  answer[1] = 0
  return answer
end
for key, tat in pairs(tats) do
  local worth_ms = math.ceil((tat - now) / 1000)
  redis.call('SET', key, string.format('%.0f', tat), 'PX', string.format('%.0f', worth_ms + ARGV[2]))
end
return answer
