-- SPDX-License-Identifier: GPL-2.0-or-later
-- Tables, strings, closures, arithmetic; also for luajit (argument: rounds).
local rounds = tonumber(arg[1]) or 1
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
local sum = 0
for round = 1, rounds do
  local t = {}
  for i = 1, 20000 do t[i] = (i * 7919) % 10007 end
  table.sort(t)
  local words = {}
  for i = 1, 5000 do
    local w = "k" .. (t[i] % 701)
    words[w] = (words[w] or 0) + i
  end
  for w, n in pairs(words) do sum = sum + #w + n % 13 end
  sum = sum + fib(20)
  local s = {}
  for i = 1, 3000 do s[#s + 1] = string.format("%d:%s", i, string.rep("x", i % 17)) end
  for a in table.concat(s, ","):gmatch("(%d+):x+") do sum = sum + #a end
end
print(sum)
