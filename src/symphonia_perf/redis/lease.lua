-- A lease: who holds it now, and the last fencing number that was given out.
--
-- KEYS  1 the holder's token, 2 the last number; one hash tag, so one node of a cluster
-- ARGV  1 acquire, renew or release
--       2 the caller's token; it begins with the length, so that others can read that too
--       3 the length in milliseconds
--       4 wait or grant: what to do while the server may have forgotten who held it

local MEMORY = 3600000 -- milliseconds that a number outlives its lease, against a clock set back

local verb, token, length = ARGV[1], ARGV[2], tonumber(ARGV[3])
local holder = redis.call('GET', KEYS[1])

if verb == 'release' then
    if holder ~= token then
        return 0
    end
    redis.call('DEL', KEYS[1])
    redis.pcall('PUBLISH', KEYS[1], '') -- wakes who waits; an ACL that forbids it costs only time
    return 1
end

if verb == 'renew' then
    if holder ~= token then
        return 0
    end
    redis.call('PEXPIRE', KEYS[1], length)
    redis.call('PEXPIRE', KEYS[2], length + MEMORY)
    return 1
end

if holder and holder ~= token then
    local left = redis.call('PTTL', KEYS[1])
    local whole = tonumber(string.match(holder, '^%d+'))
    if whole and left > whole then
        -- The server's clock was set back: without this, a dead holder would be waited for as long.
        redis.call('PEXPIRE', KEYS[1], whole)
        left = whole
    end
    return {0, left, holder}
end

if ARGV[4] == 'wait' and not holder then
    -- A restart may have lost a lease whose holder lives: until that is surely over, nobody gets it.
    local info = redis.pcall('INFO', 'server')
    local up = type(info) == 'string' and string.match(info, 'uptime_in_seconds:(%d+)')
    -- Whole seconds of a clock that is read in whole seconds may be one too many.
    local left = up and length + 1000 - up * 1000 or 0
    if left > 0 then
        return {0, left, ''}
    end
end

-- Microseconds since 1970, so that numbers grow even where the last one was lost. They stay below
-- 2^53, where Lua's arithmetic is exact, until the year 2255; `tostring` would round them.
local time = redis.call('TIME')
local number = math.max(
    time[1] * 1000000 + time[2],
    (tonumber(redis.call('GET', KEYS[2]) or 0) or 0) + 1
)
redis.call('SET', KEYS[1], token, 'PX', length)
redis.call('SET', KEYS[2], string.format('%.0f', number), 'PX', length + MEMORY)
return {1, number}
