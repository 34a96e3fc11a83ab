-- The benchmark's policy for Envoy's Lua filter, written to decide and to answer as Quiesce does; the
-- benchmark checks that before it measures. What Lua cannot do is missing: to be switched without new
-- configuration, to know what is in flight, to count by surface, to verify a pass.

local ENDS_AT_S, SPREAD_S, DEFAULT_S, CAP_S, BUDGET, CLIENTS = @ENDS_AT_S@, 10, 10, 3600, 10, 2048
local SAFE = { GET = true, HEAD = true, OPTIONS = true, TRACE = true }
local OVERRIDES =
  { ["x-http-method-override"] = true, ["x-http-method"] = true, ["x-method-override"] = true }
local ANSWER = '{"type":"urn:quiesce:problem:@CODE@","title":"Writes are paused","status":423,'
  .. '"detail":"Read-only until @ENDS_AT@. Nothing was written. Reads are served.","code":"@CODE@",'
  .. '"window":"bench","reason":"a benchmark","starts_at":"@STARTS_AT@","ends_at":"@ENDS_AT@",'
  .. '"contact":"ops@example.com","retry_after_s":'
local READ_ONLY, OVER_BUDGET = ANSWER:gsub("@CODE@", "read-only"), ANSWER:gsub("@CODE@", "retry-budget")

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- The path as every origin reads it, or nothing if origins may differ about it.
local function plain(path)
  if #path > 8192 or path:byte() ~= 47 or path:find("[^\33-\126]") or path:find("[\\#;]") or path:find("//", 1, true) then
    return nil
  end
  if path:find("/.", 1, true) then
    for segment in path:gmatch("[^/]+") do
      if segment == "." or segment == ".." then return nil end
    end
  end
  if path:find("%", 1, true) then
    for escape in path:gmatch("%%(.?.?)") do
      local byte = escape:find("^%x%x$") and tonumber(escape, 16)
      if not byte or byte < 32 or byte == 127 or ("/\\.%;?#"):find(string.char(byte), 1, true) then return nil end
    end
    path = unescape(path)
  end
  return path
end

-- The host as DNS compares names, or nothing if it can be none.
local function host_of(authority)
  local host, port = authority, ""
  local colon = authority:find(":", 1, true)
  if colon then host, port = authority:sub(1, colon - 1), authority:sub(colon + 1) end
  if host == "" or host:find("[^%w%-%._]") or port:find("%D") then return nil end
  return host:lower()
end

local function writes(headers, method, target)
  local suspicious = false
  for name in pairs(headers) do
    if name == "upgrade" or OVERRIDES[name] or (name:find("_", 1, true) and OVERRIDES[name:gsub("_", "-")]) then
      suspicious = true
    end
  end
  local path, query = target, nil
  local mark = target:find("?", 1, true)
  if mark then
    path, query = target:sub(1, mark - 1), target:sub(mark + 1)
    for pair in query:gmatch("[^&;]+") do
      if unescape(pair:match("^[^=]*")):lower() == "_method" then suspicious = true end
    end
  end
  local host = host_of(headers:get(":authority") or "")
  path = plain(path)
  if not path or not host then
    return suspicious or method == "GET" or not SAFE[method]
  end
  if suspicious then return true end
  if host == "api.example.com" then
    if method == "POST" and path == "/items/search" then return false end
    if method == "GET" then
      local folded = path:lower()
      if folded == "/admin" or folded:sub(1, 7) == "/admin/" then return true end
    end
  end
  return not SAFE[method]
end

-- When each client may come back, and how often it came too early.
local not_before, early, known = {}, {}, 0

local function wait_of(client, now_s)
  local returns = 0
  if not_before[client] then
    if now_s < not_before[client] then returns = early[client] + 1 end
  else
    if known >= CLIENTS then not_before, early, known = {}, {}, 0 end
    known = known + 1
  end
  local wait_s = ENDS_AT_S > now_s and ENDS_AT_S - now_s or DEFAULT_S
  wait_s = wait_s + math.random(0, SPREAD_S) + DEFAULT_S * (2 ^ math.min(returns, 20) - 1)
  wait_s = math.max(1, math.min(CAP_S, wait_s))
  not_before[client], early[client] = now_s + wait_s, returns
  return wait_s, returns > BUDGET
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local method, target = headers:get(":method"), headers:get(":path")
  if not writes(headers, method, target) then return end
  local client = table.concat({
    method,
    target,
    headers:get("authorization") or "",
    headers:get("user-agent") or "",
    headers:get("x-forwarded-for") or handle:streamInfo():downstreamDirectRemoteAddress(),
  }, "\n")
  local wait_s, over_budget = wait_of(client, os.time())
  handle:respond({
    [":status"] = "423",
    ["content-type"] = "application/problem+json",
    ["cache-control"] = "no-store",
    ["x-envoy-ratelimited"] = "true",
    ["retry-after"] = tostring(wait_s),
  }, (over_budget and OVER_BUDGET or READ_ONLY) .. wait_s .. "}")
end
